"""One of Parley's programs as a process of its own, as it runs in production."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from parley_tools.embedded.guard import guarded
from parley_tools.embedded.ports import free_port
from tests.support.waiting import wait_until

# What a process needs of this one's environment; settings must not leak into it from the developer's shell.
_KEPT = ("PATH", "PYTHONPATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "COVERAGE_PROCESS_START", "SYSTEMROOT")


class ServiceProcess:
    """A running ``python -m <package>``, a context manager with or without ``async``.

    Entering starts it and waits until it is ready; leaving ends it and fails the test when its log holds a traceback.

    Attributes:
        package: What runs.
        environment: All of its environment.
    """

    def __init__(
        self,
        package: str,
        environment: Mapping[str, str],
        *,
        arguments: Sequence[str] = (),
        ready: bool = True,
        deadline: float = 30.0,
        tracebacks: bool = False,
    ) -> None:
        """Describe the process.

        Args:
            package: Run with ``-m``.
            environment: Its settings. ``HEALTH_PORT`` is chosen when absent; the gateway's is its ``PORT``.
            arguments: After the package's name.
            ready: Wait for ``/readyz`` on entering; False: return as soon as it is started.
            deadline: Seconds to become ready.
            tracebacks: Let a traceback in the log pass.
        """
        self.package = package
        self.environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | dict(environment)
        health = "PORT" if package == "gateway" else "HEALTH_PORT"
        self.environment.setdefault(health, str(free_port()))
        self.health_port = int(self.environment[health])
        self._arguments = list(arguments)
        self._ready = ready
        self._deadline = deadline
        self._tracebacks = tracebacks
        self._log = Path(tempfile.mkstemp(prefix=f"parley-{package}-", suffix=".log")[1])
        self._process: subprocess.Popen[bytes] | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it; do not wait."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                guarded([sys.executable, "-m", self.package, *self._arguments]),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Return when ``/readyz`` says 200; fail with the log when the process ends or the deadline passes."""

        def ready() -> bool:
            if self.returncode is not None:
                raise AssertionError(f"{self.package} ended with {self.returncode}:\n{self.log}")
            return self.get("/readyz")[0] == 200

        try:
            wait_until(ready, deadline=self._deadline, what=f"{self.package} being ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.get('/readyz')}\n{self.log}") from None

    def stop(self, *, deadline: float = 20.0) -> int:
        """SIGTERM; return the exit code. Fail when it does not end in time. Without effect when it has ended."""
        self.signal(signal.SIGTERM)
        return self.wait(deadline=deadline)

    def wait(self, *, deadline: float = 20.0) -> int:
        """Wait for its end and return the exit code."""
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.package} did not end within {deadline:g} s:\n{self.log}") from None

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; without effect when it has ended."""
        if self.returncode is None:
            self.process.send_signal(number)

    # --- looks -------------------------------------------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.package} was not started")
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

    @property
    def health_url(self) -> str:
        return f"http://127.0.0.1:{self.health_port}"

    def get(self, path: str) -> tuple[int, str]:
        """``GET`` from its health server; status 0 when nothing answers."""
        try:
            with urllib.request.urlopen(self.health_url + path, timeout=2.0) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    # --- as a context manager ----------------------------------------------------------------------------------------

    def __enter__(self) -> ServiceProcess:
        self.start()
        if self._ready:
            try:
                self.wait_ready()
            except BaseException:
                self._end(failed=True)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(failed=error is not None)

    async def __aenter__(self) -> ServiceProcess:
        self.start()  # in this thread: the process dies with the one that starts it
        if self._ready:
            try:
                await asyncio.to_thread(self.wait_ready)
            except BaseException:
                self._end(failed=True)
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The loop goes on meanwhile: fakes in it may be what the service waits for.
        await asyncio.to_thread(self._end, failed=error is not None)

    def _end(self, *, failed: bool) -> None:
        try:
            self.signal(signal.SIGCONT)
            if failed:
                self.kill()
                print(f"--- log of {self.package} ---\n{self.log}")
            else:
                self.stop()
                if not self._tracebacks and "Traceback (most recent call last)" in self.log:
                    raise AssertionError(f"{self.package} logged a traceback:\n{self.log}")
        finally:
            self._log.unlink()


def run_service(
    package: str,
    environment: Mapping[str, str],
    *,
    arguments: Sequence[str] = (),
    ready: bool = True,
    deadline: float = 30.0,
    tracebacks: bool = False,
) -> ServiceProcess:
    """``async with run_service("push", {"NATS_URL": nats_url, …}) as push:``; see :class:`ServiceProcess`."""
    return ServiceProcess(
        package, environment, arguments=arguments, ready=ready, deadline=deadline, tracebacks=tracebacks
    )
