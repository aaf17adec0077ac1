"""A whole Parley, started as a person starts it: ``parley up``."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from parley_tools.client import ParleyClient
from parley_tools.client.client import Transport
from parley_tools.embedded.guard import guarded
from parley_tools.stack import state
from parley_tools.stack.state import State
from tests.support.waiting import wait_until

# The developer's own settings must not reach the stack.
_FOREIGN = ("NATS_URL", "DATABASE_URL", "SECRET_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "MODEL", "WEB_DIST")


class RunningStack:
    """``parley up`` on free ports, with its data in ``folder``. A context manager, with or without ``async``.

    Leaving ends it and fails the test when a traceback is in its log.

    Attributes:
        folder: Its data; use it again to start with what an earlier one left.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        deadline: float = 60.0,
        tracebacks: bool = False,
    ) -> None:
        self.folder = folder
        self._arguments = [
            *("up", "--data", str(folder)),
            *([] if "--port" in arguments else ["--port", "0"]),
            *([] if "--push-port" in arguments else ["--push-port", "0"]),
            *arguments,
        ]
        inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        self._environment = inherited | dict(environment or {})
        self._deadline = deadline
        self._tracebacks = tracebacks
        self._log = folder.with_name(f"{folder.name}-{time.monotonic_ns()}.log")
        self._process: subprocess.Popen[bytes] | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it; do not wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                guarded([sys.executable, "-m", "parley_tools.cli", *self._arguments], on_death=signal.SIGTERM),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"parley up ended with {self.process.returncode}:\n{self.log}")
            running = state.read(self.folder)
            return running is not None and running.pid == self.process.pid and running.ready

        try:
            wait_until(ready, deadline=self._deadline, what="the stack being ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def stop(self, number: signal.Signals = signal.SIGINT, *, deadline: float = 40.0) -> int:
        """End it as Ctrl-C does and return its exit code. Without effect when it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(deadline=deadline)

    def wait(self, *, deadline: float = 40.0) -> int:
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"parley up did not end within {deadline:g} s:\n{self.log}") from None

    def kill(self) -> None:
        """SIGKILL for the supervisor alone; its children have to end by themselves."""
        self.process.kill()
        self.process.wait()

    # --- looks -------------------------------------------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the stack was not started"
        return self._process

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def state(self) -> State:
        running = state.read(self.folder)
        assert running is not None, f"no stack runs:\n{self.log}"
        return running

    @property
    def url(self) -> str:
        return self.state.url

    def client(self, *, access_token: str | None = None, transport: Transport | None = None) -> ParleyClient:
        """A new guest, or who has the token."""
        return ParleyClient(self.url, access_token=access_token, transport=transport)

    # --- as a context manager ----------------------------------------------------------------------------------------

    def __enter__(self) -> RunningStack:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(failed=error is not None)

    async def __aenter__(self) -> RunningStack:
        self.start()  # in this thread: the process dies with the one that starts it
        try:
            await asyncio.to_thread(self.wait_ready)
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._end, failed=error is not None)

    def _end(self, *, failed: bool) -> None:
        self.stop()
        if failed:
            print(f"--- log of the stack ---\n{self.log[-20_000:]}")
        elif not self._tracebacks:
            self.assert_no_traceback()

    def assert_no_traceback(self) -> None:
        """Nor a subject of the bus that a service may not use."""
        assert "Traceback (most recent call last)" not in self.log, self.log
        assert " Violation - " not in self.log, self.log
