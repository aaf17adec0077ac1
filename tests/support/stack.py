"""A whole Parley, started as a person starts it: ``parley up``."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from parley_cli.child_process import base_environment
from parley_cli.stack import state
from parley_cli.stack.state import State
from parley_client import ParleyClient
from parley_client.client import Transport
from tests.support.program import Program
from tests.support.waiting import wait_until


class RunningStack(Program):
    """``parley up`` on free ports, with its data in ``folder``.

    Leaving ends it and fails the test when a traceback is in its log.

    Attributes:
        folder: Its data; use it again to start with what an earlier one left.
    """

    stop_timeout = 40.0
    # SIGKILL for the supervisor alone would leave it to its children to end by themselves.
    on_death = signal.SIGTERM

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        deadline: float = 60.0,
        tracebacks: bool = False,
    ) -> None:
        self.folder = folder
        super().__init__(
            "parley up",
            [
                *(sys.executable, "-m", "parley_cli.main", "up", "--data", str(folder)),
                *([] if "--port" in arguments else ["--port", "0"]),
                *([] if "--push-port" in arguments else ["--push-port", "0"]),
                *arguments,
            ],
            base_environment() | dict(environment or {}),
            folder.with_name(f"{folder.name}-{time.monotonic_ns()}.log"),
        )
        self._deadline = deadline
        self._tracebacks = tracebacks

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        super().start()

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

    def stop(self, number: signal.Signals = signal.SIGINT, *, deadline: float | None = None) -> int:
        """End it as Ctrl-C does and return its exit code. Without effect when it has ended."""
        self.signal(number)
        return self.wait(deadline=deadline)

    # --- looks -------------------------------------------------------------------------------------------------------

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

    def end(self, *, failed: bool) -> None:
        self.stop()
        if failed:
            print(f"--- log of the stack ---\n{self.log[-20_000:]}")
        elif not self._tracebacks:
            self.assert_no_traceback()

    def assert_no_traceback(self) -> None:
        """Nor a subject of the bus that a service may not use."""
        assert "Traceback (most recent call last)" not in self.log, self.log
        assert " Violation - " not in self.log, self.log
