"""A PostgreSQL of another version than the suite's own, where there is one."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from parley_cli.embedded.guard import guarded
from parley_cli.embedded.ports import LOOPBACK, free_port
from parley_cli.embedded.postgres import postgres_program
from tests.support.program import Program
from tests.support.waiting import wait_until


def _programs(version: int) -> Path:
    """Debian's (12 has version 15, 13 has 17), or the second one that the wheel of the suite's own brings (16)."""
    debian = Path(f"/usr/lib/postgresql/{version}/bin")
    if debian.exists():
        return debian
    wheel = Path(postgres_program("postgres")).parents[2] / "pginstall" / "bin"
    if (wheel / "postgres").exists():
        said = subprocess.run([wheel / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
        if f" {version}." in said:
            return wheel
    pytest.skip(f"PostgreSQL {version} is not installed (Debian: postgresql-{version})")


def _as_owner(folder: Path, command: list[str]) -> list[str]:
    """The command as the account that Postgres takes, which may pass what is closed to it, such as /root."""
    if os.geteuid() != 0:
        return command
    account = pwd.getpwnam("postgres")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return guarded(command, account=(account.pw_uid, account.pw_gid), keep_reach=True)


class OtherPostgres(Program):
    """``with OtherPostgres(15) as postgres:``; skips the test where that version is not installed.

    Attributes:
        url: Of its database, as a superuser.
    """

    def __init__(self, version: int) -> None:
        programs = _programs(version)
        # Not below pytest's folder, which is closed to the account that it runs as.
        self._folder = Path(tempfile.mkdtemp(prefix="parley-postgres-"))
        self._port = free_port()
        self.url = f"postgresql://parley@{LOOPBACK}:{self._port}/postgres"
        self._data = self._folder / "data"
        initdb = [str(programs / "initdb"), "-D", str(self._data), "-U", "parley", "--no-sync"]
        self._initdb = [*initdb, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        settings = {
            "port": str(self._port),
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "fsync": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        super().__init__(
            f"PostgreSQL {version}",
            _as_owner(self._folder, [str(programs / "postgres"), "-D", str(self._data), *options]),
            dict(os.environ),
            self._folder / "server.log",
        )

    def start(self) -> None:
        subprocess.run(_as_owner(self._folder, self._initdb), check=True, capture_output=True)
        super().start()

    def wait_ready(self) -> None:
        def listens() -> bool:
            assert self.returncode is None, self.log
            with socket.socket() as probe:
                return probe.connect_ex((LOOPBACK, self._port)) == 0

        wait_until(listens, deadline=30, what=self.name)

    def end(self, *, failed: bool) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
