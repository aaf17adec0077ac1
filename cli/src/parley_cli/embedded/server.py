"""The common base of the embedded nats-server and PostgreSQL."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from parley_cli import child_process
from parley_cli.embedded.errors import DidNotStart
from parley_cli.polling import poll_blocking


class EmbeddedServer:
    """A server with its data in a folder.

    A supervisor of its own uses :meth:`prepare`, :attr:`command` and :meth:`is_ready`; everyone else
    :meth:`start` and :meth:`stop`, or the server as a context manager. All methods block.

    Attributes:
        name: For people.
        folder: Where its data, and with :meth:`start` its log, are.
        port: On loopback.
        stop_signal: Requests a graceful shutdown.
    """

    name: str
    folder: Path
    port: int
    stop_signal: signal.Signals

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Prepare the folder for :attr:`command`. Idempotent, while the server does not run."""
        raise NotImplementedError

    @property
    def command(self) -> list[str]:
        """The command to run; its process ends with this one."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where clients connect, password included."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Return whether it accepts clients now."""
        raise NotImplementedError

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process. Raises RuntimeError when there is none."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process

    def start(self, *, deadline: float = 30.0) -> None:
        """Prepare, start, and return when it is ready.

        Raises:
            EmbeddedError: It could not, with the reason.
        """
        self.prepare()
        with self.log_file.open("ab") as log:
            self._process = child_process.start(self.command, output=log)
        try:
            poll_blocking(self._is_started, timeout=deadline, every=0.01)
        except TimeoutError:
            self.kill()
            raise DidNotStart(self.name, f"was not ready within {deadline:g} seconds", self._last_lines()) from None

    def _is_started(self) -> bool:
        if self.process.poll() is not None:
            raise DidNotStart(self.name, "ended while starting", self._last_lines())
        return self.is_ready()

    def stop(self) -> None:
        """Shut it down gracefully; kill it after 15 s. Without effect when it is not running."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(15.0)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _last_lines(self) -> str:
        """The end of the log that :meth:`start` keeps."""
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-12:])

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
