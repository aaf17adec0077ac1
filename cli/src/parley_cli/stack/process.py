"""One child process that is kept running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from parley_cli import signals
from parley_cli.embedded.errors import EmbeddedError
from parley_cli.stack.errors import StackError
from parley_cli.stack.log import CombinedLog, Lines

_SETTLED = 30.0
"""Seconds after which a process that ends is started again without delay."""
_PROBE_EVERY = 0.04
"""Seconds between questions whether it is ready; asked more often, the questions themselves slow the start down."""
_START_TRIES = 3
"""How often a process may end before it was ready for the first time, or before that is more than a line in the log."""
_WRONG_SETTING = 2
"""The exit code of a service that cannot work with its settings: starting it again changes nothing."""


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """What to run.

    Attributes:
        name: Its name in the log and in ``stack.json``.
        service: What it is one of.
        command: Made anew for each start.
        prepare: Called before each start, in a thread; may block and raise.
        ready: Whether it serves now.
        shown: Which of its lines go into the log; None: all.
        stop_seconds: How long it may take to end in good order.
    """

    name: str
    service: str
    command: Callable[[], list[str]]
    ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    shown: re.Pattern[str] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0
    port: int | None = None
    health_port: int | None = None


class SupervisedProcess:
    """Starts a process, starts it again when it ends, and stops it.

    Attributes:
        spec: What runs.
        pid: Null while it is down.
        restarts: How often it was started again.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        log: CombinedLog,
        *,
        restart_delays: tuple[float, float],
        on_change: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.pid: int | None = None
        self.restarts = 0
        self._log = log
        self._delays = restart_delays
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._lines = Lines(log, spec.name, spec.shown)
        self._stopping = asyncio.Event()
        self._was_ready = False
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, *, deadline: float = 60.0) -> None:
        """Start it and return when it is ready for the first time.

        Raises:
            StackError: It ended too often, or was not ready in time.
        """
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.spec.name}")
        end = time.monotonic() + deadline
        while not await self.is_ready():
            if self._keeper.done():
                await self._keeper
                raise StackError(f"{self.spec.name} was stopped while it started.")
            if time.monotonic() > end:
                raise StackError(f"{self.spec.name} was not ready within {deadline:g} seconds.{self._last_words()}")
            await asyncio.sleep(_PROBE_EVERY)
        self._was_ready = True

    async def stop(self) -> None:
        """End it in good order, by force when that takes too long."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            await self._end(self._process)
        self.kill()
        if self._keeper is not None:
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def restart(self) -> None:
        """End it in good order, by force when that takes too long; it is started again like one that ends by itself."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        await self._end(process)

    def kill(self) -> None:
        """SIGKILL for it and whatever it has started."""
        self._stopping.set()
        self._kill_group()

    async def is_ready(self) -> bool:
        """Whether it runs and serves now."""
        return self.pid is not None and await self.spec.ready()

    async def _keep(self) -> None:
        first, longest = self._delays
        delay = first
        ends = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            code: int | None = None
            try:
                await asyncio.to_thread(self.spec.prepare)
                if self._stopping.is_set():
                    return
                code = await self._run_once()
                end = f"ended with {_told(code)}"
            except (EmbeddedError, OSError) as error:
                if not self._was_ready:
                    raise
                end = f"does not start: {error}"
            if self._stopping.is_set():
                return
            if time.monotonic() - started > _SETTLED:
                delay, ends = first, 0
            ends += 1
            if not self._was_ready and code == _WRONG_SETTING:
                raise StackError(f"{self.spec.name} does not start with these settings:{self._last_words()}")
            if not self._was_ready and ends >= _START_TRIES:
                raise StackError(f"{self.spec.name} does not start: it {end}.{self._last_words()}")
            self._report(end, ends, delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, longest)
            self.restarts += 1

    def _report(self, end: str, ends: int, delay: float) -> None:
        """Tell of the end: each of the first ones, then less and less often."""
        if ends < _START_TRIES:
            self._log.line(self.spec.name, f"{end}; starting it again in {delay:g} s")
        elif ends & (ends - 1) == 0 or ends == _START_TRIES:
            self._log.announce(
                f"{self.spec.name} {end}, {ends} times in a row: Parley does not work as it should. It is started "
                f"again every {delay:g} s. Its last lines:{self._last_words()}"
            )

    async def _run_once(self) -> int:
        self._process = await asyncio.create_subprocess_exec(
            *self.spec.command(),
            env=dict(self.spec.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C goes to us alone
        )
        self.pid = self._process.pid
        self._on_change()
        try:
            assert self._process.stdout is not None
            while data := await self._process.stdout.read(65536):
                self._lines.feed(data)
            self._lines.end()
            return await self._process.wait()
        finally:
            # Whatever it leaves behind must not go on without it.
            self._kill_group()
            self.pid = None
            self._on_change()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        signals.send(process, signal.SIGCONT)
        signals.send(process, self.spec.stop_signal)
        try:
            async with asyncio.timeout(self.spec.stop_seconds):
                await process.wait()
        except TimeoutError:
            self._log.line(self.spec.name, f"does not end within {self.spec.stop_seconds:g} s; killed")
            self._kill_group()

    def _kill_group(self) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        return "".join(f"\n  {line}" for line in self._lines.last)


def _told(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
