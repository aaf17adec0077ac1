"""A program that a test runs: started, waited for, ended, and its log."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from parley_cli import child_process
from parley_cli.embedded.guard import guarded
from tests.support.pausing import pause


class Program:
    """A process that ends with the test's; a context manager with or without ``async``.

    Entering starts it and calls :meth:`wait_ready`; leaving calls :meth:`end`.

    Attributes:
        name: What it is called in a test's failure.
        environment: All of its environment.
        wait_on_entering: False: entering only starts it.
    """

    stop_timeout = 20.0
    """Seconds to end in good order."""
    on_death = signal.SIGKILL
    """What it gets when the test's process dies."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.environment = dict(environment)
        self.wait_on_entering = True
        self._command = list(command)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it; do not wait."""
        with self._log.open("ab") as log:
            self._process = child_process.start(
                guarded(self._command, on_death=self.on_death), output=log, environment=self.environment
            )

    def wait_ready(self) -> None:
        """Return when it serves; fail with its log when it does not."""
        raise NotImplementedError

    def end(self, *, failed: bool) -> None:
        """End it, after a test that may have failed."""
        raise NotImplementedError

    def wait(self, *, deadline: float | None = None) -> int:
        """Wait for its end and return the exit code."""
        seconds = self.stop_timeout if deadline is None else deadline
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds:g} s:\n{self.log}") from None

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        """Stop it until it gets SIGCONT; return once it has stopped."""
        pause(self.process.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; without effect when it has ended."""
        if self.returncode is None:
            self.process.send_signal(number)

    # --- looks -------------------------------------------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.poll()

    @property
    def log(self) -> str:
        """All it has written to standard output and standard error."""
        return self._log.read_text(errors="replace")

    # --- as a context manager ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        try:
            if self.wait_on_entering:
                self.wait_ready()
        except BaseException:
            self.end(failed=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(failed=error is not None)

    async def __aenter__(self) -> Self:
        self.start()  # in this thread: the process dies with the one that starts it
        try:
            if self.wait_on_entering:
                await asyncio.to_thread(self.wait_ready)
        except BaseException:
            self.end(failed=True)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The loop goes on meanwhile: fakes in it may be what the program waits for.
        await asyncio.to_thread(self.end, failed=error is not None)
