"""One supervised child process."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from parley.runtime.backoff import Backoff
from parley_cli import child_process
from parley_cli.embedded.errors import EmbeddedError
from parley_cli.embedded.server import EmbeddedServer
from parley_cli.polling import poll
from parley_cli.stack.errors import StackError
from parley_cli.stack.log import CombinedLog, Lines

_STABLE_AFTER = 30.0
"""Seconds of running after which the backoff starts again."""
_PROBE_EVERY = 0.04
"""Seconds between readiness probes; more frequent ones slow the start down."""
_START_TRIES = 3
"""Ends of a process after which its start fails, or, once it was ready, a warning is logged."""
_WRONG_SETTING = 2
"""The exit code of a service with invalid settings: a restart does not help."""


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """What to run.

    Attributes:
        name: In the log and in ``stack.json``.
        service: The service of which it is one process.
        command: Called for each start.
        prepare: Called before each start, in a thread; may block and raise.
        ready: Returns whether it serves now.
        shown: The lines of its output that are logged; None: all.
        stop_seconds: The time for a graceful shutdown.
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


def server_spec(
    server: EmbeddedServer, *, service: str, environment: Mapping[str, str], shown: re.Pattern[str] | None = None
) -> ProcessSpec:
    """Return how to run an embedded server, which is named as its folder."""

    async def ready() -> bool:
        return server.is_ready()

    return ProcessSpec(
        name=server.folder.name,
        service=service,
        command=lambda: server.command,
        prepare=server.prepare,
        ready=ready,
        environment=environment,
        shown=shown,
        stop_signal=server.stop_signal,
        port=server.port,
    )


class SupervisedProcess:
    """Starts a process, restarts it when it ends, and stops it.

    Attributes:
        spec: What runs.
        pid: Null while it is down.
        restarts: The number of restarts.
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
        self._restart_requested = False
        self._supervision: asyncio.Task[None] | None = None

    async def start(self, *, deadline: float = 60.0) -> None:
        """Start it and return when it is ready for the first time.

        Raises:
            StackError: It ended too often, or was not ready in time.
        """
        self._supervision = asyncio.create_task(self._supervise(), name=f"supervise {self.spec.name}")
        try:
            await poll(self._is_started, timeout=deadline, every=_PROBE_EVERY)
        except TimeoutError:
            message = f"{self.spec.name} was not ready within {deadline:g} seconds.{self._last_lines()}"
            raise StackError(message) from None
        self._was_ready = True

    async def _is_started(self) -> bool:
        assert self._supervision is not None
        if self._supervision.done():
            await self._supervision
            raise StackError(f"{self.spec.name} was stopped while it started.")
        return await self.is_ready()

    async def stop(self) -> None:
        """Shut it down gracefully, and kill it when that takes too long."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            await self._end(self._process)
        self.kill()
        if self._supervision is not None:
            await asyncio.gather(self._supervision, return_exceptions=True)

    async def restart(self) -> None:
        """Shut it down as :meth:`stop` does, and start it again at once."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._restart_requested = True
        await self._end(process)

    def kill(self) -> None:
        """SIGKILL for it and whatever it has started."""
        self._stopping.set()
        self._kill_group()

    async def is_ready(self) -> bool:
        """Whether it runs and serves now."""
        return self.pid is not None and await self.spec.ready()

    async def _supervise(self) -> None:
        backoff = Backoff(*self._delays)
        ends = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            code: int | None = None
            try:
                await asyncio.to_thread(self.spec.prepare)
                if self._stopping.is_set():
                    return
                code = await self._run_once()
                end = f"ended with {_exit_status(code)}"
            except (EmbeddedError, OSError) as error:
                if not self._was_ready:
                    raise
                end = f"does not start: {error}"
            if self._stopping.is_set():
                return
            if self._restart_requested:
                self._restart_requested = False
                self.restarts += 1
                continue
            if time.monotonic() - started > _STABLE_AFTER:
                backoff.reset()
                ends = 0
            ends += 1
            if not self._was_ready and code == _WRONG_SETTING:
                raise StackError(f"{self.spec.name} does not start with these settings:{self._last_lines()}")
            if not self._was_ready and ends >= _START_TRIES:
                raise StackError(f"{self.spec.name} does not start: it {end}.{self._last_lines()}")
            delay = backoff.next_delay()
            self._report(end, ends, delay)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
            self.restarts += 1

    def _report(self, end: str, ends: int, delay: float) -> None:
        """Log the end: each of the first ones, then exponentially fewer."""
        if ends < _START_TRIES:
            self._log.line(self.spec.name, f"{end}; restarting it in {delay:.1f} s")
        elif ends & (ends - 1) == 0 or ends == _START_TRIES:
            self._log.announce(
                f"{self.spec.name} {end}, {ends} times in a row: Parley does not work as it should. It is "
                f"restarted after {delay:.1f} s. Its last lines:{self._last_lines()}"
            )

    async def _run_once(self) -> int:
        self._process = await child_process.start_async(
            self.spec.command(), output=subprocess.PIPE, environment=self.spec.environment
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
            # Its own children must not outlive it.
            self._kill_group()
            self.pid = None
            self._on_change()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        child_process.send_signal(process, signal.SIGCONT)
        if not await child_process.stop(process, timeout=self.spec.stop_seconds, number=self.spec.stop_signal):
            self._log.line(self.spec.name, f"did not stop within {self.spec.stop_seconds:g} s; killed")

    def _kill_group(self) -> None:
        if self.pid is not None:
            child_process.kill_group(self.pid)

    def _last_lines(self) -> str:
        return "".join(f"\n  {line}" for line in self._lines.last)


def _exit_status(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
