"""PgBouncer, the pooler, in front of a database of the suite's PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from parley_cli.embedded.ports import LOOPBACK, free_port
from tests.support.program import Program
from tests.support.waiting import wait_until


class PgBouncer(Program):
    """``with PgBouncer(folder, database_url, mode="session") as pooler:``; skips the test where it is not installed.

    Attributes:
        url: Of the database, through it.
    """

    def __init__(self, folder: Path, database_url: str, *, mode: str, ignored: str = "") -> None:
        """Describe it.

        Args:
            mode: ``session``, ``transaction`` or ``statement``.
            ignored: Startup parameters that it lets pass without effect.
        """
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
        if program is None:
            pytest.skip("PgBouncer is not installed")
        parts = urlsplit(database_url)
        self._port = free_port()
        self.url = f"postgresql://{parts.username}:any@{LOOPBACK}:{self._port}/through"
        folder.mkdir(exist_ok=True)
        config = folder / "pgbouncer.ini"
        where = f"host={parts.hostname} port={parts.port} dbname={parts.path[1:]}"
        config.write_text(
            f"""[databases]
through = {where} user={parts.username} password={parts.password}
[pgbouncer]
listen_addr = {LOOPBACK}
listen_port = {self._port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = {ignored}
"""
        )
        # It refuses to run as root, and has read its configuration before it becomes another.
        user = ["-u", "nobody"] if os.geteuid() == 0 and pwd.getpwnam("nobody") else []
        super().__init__("pgbouncer", [program, *user, str(config)], dict(os.environ), folder / "pgbouncer.log")

    def wait_ready(self) -> None:
        def listens() -> bool:
            assert self.returncode is None, self.log
            with socket.socket() as probe:
                return probe.connect_ex((LOOPBACK, self._port)) == 0

        wait_until(listens, what="PgBouncer")

    def end(self, *, failed: bool) -> None:
        self.kill()
        if failed:
            print(f"--- log of PgBouncer ---\n{self.log}")
