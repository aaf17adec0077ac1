"""One of Parley's programs as a process of its own, as it runs in production."""

from __future__ import annotations

import signal
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from parley_cli.child_process import base_environment
from parley_cli.embedded.ports import PortSet
from tests.support.program import Program
from tests.support.waiting import wait_until


class ServiceProcess(Program):
    """A running ``python -m <package>``.

    Entering starts it and waits until it is ready; leaving ends it and fails the test when its log holds a traceback.
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
        super().__init__(
            package,
            [sys.executable, "-m", package, *arguments],
            base_environment() | dict(environment),
            Path(tempfile.mkstemp(prefix=f"parley-{package}-", suffix=".log")[1]),
        )
        health = "PORT" if package == "gateway" else "HEALTH_PORT"
        self.environment.setdefault(health, str(PortSet((int(self.environment.get("PORT", "0")),)).draw()))
        self.health_port = int(self.environment[health])
        self.wait_on_entering = ready
        self._deadline = deadline
        self._tracebacks = tracebacks

    # --- life --------------------------------------------------------------------------------------------------------

    def wait_ready(self) -> None:
        """Return when ``/readyz`` says 200; fail with the log when the process ends or the deadline passes."""

        def ready() -> bool:
            if self.returncode is not None:
                raise AssertionError(f"{self.name} ended with {self.returncode}:\n{self.log}")
            return self.get("/readyz")[0] == 200

        try:
            wait_until(ready, deadline=self._deadline, what=f"{self.name} being ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.get('/readyz')}\n{self.log}") from None

    def stop(self, *, deadline: float | None = None) -> int:
        """SIGTERM; return the exit code. Fail when it does not end in time. Without effect when it has ended."""
        self.signal(signal.SIGTERM)
        return self.wait(deadline=deadline)

    # --- looks -------------------------------------------------------------------------------------------------------

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

    def end(self, *, failed: bool) -> None:
        try:
            self.signal(signal.SIGCONT)
            if failed:
                self.kill()
                print(f"--- log of {self.name} ---\n{self.log}")
            else:
                self.stop()
                if not self._tracebacks and "Traceback (most recent call last)" in self.log:
                    raise AssertionError(f"{self.name} logged a traceback:\n{self.log}")
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
