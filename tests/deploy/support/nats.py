"""nats-server as compose runs it: the committed files, other ports."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from parley.contracts.access.permissions import USERS
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.nats import nats_program
from parley_cli.embedded.ports import LOOPBACK, free_port
from parley_cli.embedded.server import EmbeddedServer
from tests.deploy.support.paths import DEPLOY


class DeployedNats(EmbeddedServer):
    """nats-server from ``deploy/nats``, with the users of ``authorization.conf``."""

    name = "nats-server"
    stop_signal = signal.SIGTERM

    def __init__(
        self, folder: Path, *, authorization: str | None = None, environment: Path | None = None, extra: str = ""
    ) -> None:
        """Describe the server.

        Args:
            folder: For its data.
            authorization: In place of the committed ``authorization.conf``.
            environment: Shell lines that export the passwords, in place of ``passwords``.
            extra: Configuration added at the end.
        """
        super().__init__()
        self.folder = folder
        self.port = free_port()
        self.monitor_port = free_port()
        self._authorization = authorization
        self._environment = environment
        self._extra = extra
        self.passwords = {user.user: f"p{number}ssword" for number, user in enumerate(USERS)}

    def prepare(self) -> None:
        (self.folder / "authorization").mkdir(parents=True, exist_ok=True)
        config = (DEPLOY / "nats" / "nats-server.conf").read_text()
        config = config.replace("/data/jetstream", str(self.folder / "data"))
        (self.folder / "nats-server.conf").write_text(f"{config}\n{self._extra}\n")
        authorization = self.folder / "authorization" / "authorization.conf"
        if self._authorization is None:
            shutil.copy(DEPLOY / "nats" / "authorization.conf", authorization)
        else:
            authorization.write_text(self._authorization)

    @property
    def command(self) -> list[str]:
        variables = [f"{user.password_variable}={self.passwords[user.user]}" for user in USERS]
        server = [nats_program(), "--config", str(self.folder / "nats-server.conf")]
        where = ["--addr", LOOPBACK, "--port", str(self.port), "--http_port", str(self.monitor_port)]
        if self._environment is not None:
            return guarded(["/bin/sh", "-c", f'. {self._environment} && exec "$@"', "sh", *server, *where])
        return guarded(["/usr/bin/env", *variables, *server, *where])

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    def url_of(self, user: str, passwords: Mapping[str, str] | None = None) -> str:
        """The address with the user's name and password."""
        return f"nats://{user}:{(passwords or self.passwords)[user]}@{LOOPBACK}:{self.port}"

    def is_ready(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1.0) as client:
                return client.recv(4096).startswith(b"INFO ")
        except OSError:
            return False


def environment(nats: DeployedNats, user: str) -> dict[str, str]:
    """Return the environment of a service with that user."""
    return {"NATS_URL": nats.url_of(user), "PATH": os.environ["PATH"]}
