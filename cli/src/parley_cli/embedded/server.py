"""What nats-server and PostgreSQL have in common: prepared, started, ready, stopped."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

from parley_cli.embedded.errors import DidNotStart


class EmbeddedServer:
    """A server with its data in a folder.

    A supervisor of its own uses :meth:`prepare`, :attr:`command` and :meth:`is_ready`; everyone else
    :meth:`start` and :meth:`stop`, or the server as a context manager. All methods block.

    Attributes:
        name: For people.
        folder: Where its data, and with :meth:`start` its log, are.
        port: On loopback.
        stop_signal: Asks it to end in good order.
    """

    name: str
    folder: Path
    port: int
    stop_signal: signal.Signals

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Bring the folder into a state that :attr:`command` can run on; repeated at will while it does not run."""
        raise NotImplementedError

    @property
    def command(self) -> list[str]:
        """The process to run; it dies with the one that starts it."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where clients connect, password included."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it accepts clients now."""
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
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + deadline
        while not self.is_ready():
            if self._process.poll() is not None:
                raise DidNotStart(self.name, "ended while starting", self.last_words())
            if time.monotonic() > end:
                self.kill()
                raise DidNotStart(self.name, f"was not ready within {deadline:g} seconds", self.last_words())
            time.sleep(0.01)

    def stop(self, *, deadline: float = 15.0) -> None:
        """End it in good order; by force after ``deadline`` seconds. Without effect when it is not running."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def last_words(self, lines: int = 12) -> str:
        """The end of the log that :meth:`start` keeps."""
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
