"""``parley backup`` and ``parley restore`` as an operator meets them when something is not as it should be."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import asyncpg
import psutil
import pytest

from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from parley_cli.backup.errors import Mixed
from parley_cli.backup.targets import Installation, to_read, to_write
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.postgres import PostgresServer
from parley_cli.stack import state
from parley_cli.stack.secrets import load_secrets
from tests.support.databases import Databases
from tests.support.pausing import pause
from tests.support.waiting import eventually

Environment = Mapping[str, str]


def _start(*arguments: object, before: Sequence[str] = (), env: Environment) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-m", "parley_cli.main", *map(str, arguments)],
        env={"PATH": os.environ["PATH"], **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _said(process: subprocess.Popen[str], code: int) -> str:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said
    return said


def _parley(*arguments: object, code: int = 1, env: Environment) -> str:
    return _said(_start(*arguments, env=env), code)


@pytest.fixture
async def servers(nats_server: NatsServer, databases: Databases) -> dict[str, str]:
    """Of a sound installation, as an environment."""
    nc = await connect(nats_server.url, name="test")
    await provision(nc)
    await nc.close()
    return {"NATS_URL": nats_server.url, "DATABASE_URL": databases.migrated()}


def test_a_file_that_is_missing_is_no_damaged_backup(tmp_path: Path) -> None:
    for file, cause in (
        (tmp_path / "missing", "There is no such file."),
        (tmp_path, "It cannot be read (Is a directory)."),
    ):
        said = _parley("restore", file, "--data", tmp_path / "data", env={})
        assert said == f"parley: {file} cannot be restored. {cause} Nothing was changed.\n"
    assert not (tmp_path / "data").exists(), "nothing was started for it"


def test_no_file_is_replaced_unasked(tmp_path: Path, servers: dict[str, str]) -> None:
    file = tmp_path / "kept"
    file.write_text("kept")
    assert "exists already. Name another file, or add --force" in _parley("backup", file, env=servers)
    assert file.read_text() == "kept"
    _parley("backup", file, "--force", code=0, env=servers)
    assert file.read_bytes().startswith(b"PK")
    (tmp_path / "kept.partial").write_text("also mine")
    _parley("backup", file, "--force", code=0, env=servers)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["kept", "kept.partial"]


@pytest.mark.parametrize("place", ["missing/backup", "."])
def test_a_place_where_no_file_can_be_is_reported(tmp_path: Path, place: str, servers: dict[str, str]) -> None:
    said = _parley("backup", tmp_path / place, "--force", env=servers)
    assert said.startswith(f"parley: {tmp_path / place} cannot be written: ")


def test_a_file_that_may_not_grow_is_reported_and_leaves_nothing(tmp_path: Path, servers: dict[str, str]) -> None:
    """As with a full disk."""
    file = tmp_path / "out" / "backup"
    file.parent.mkdir()
    limited = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh"]
    said = _said(_start("backup", file, before=limited, env=servers), 1)
    assert said.startswith(f"parley: {file} cannot be written: File too large.")
    assert not list(file.parent.iterdir())


# --- deadlines ------------------------------


@pytest.fixture
def frozen(tmp_path: Path, servers: dict[str, str]) -> Iterator[PostgresServer]:
    """A Postgres that can be stopped like a clock."""
    server = PostgresServer(tmp_path / "frozen", password="x", fsync=False)
    server.start()
    yield server
    for each in _processes(server):
        each.send_signal(signal.SIGCONT)
    server.stop()


def _processes(server: PostgresServer) -> list[psutil.Process]:
    process = psutil.Process(server.process.pid)
    return [process, *process.children(recursive=True)]


def test_a_database_that_hangs_ends_a_backup_within_its_deadline(
    tmp_path: Path, servers: dict[str, str], frozen: PostgresServer
) -> None:
    file = tmp_path / "backup"
    assert _parley("migrate", code=0, env=servers | {"DATABASE_URL": frozen.url}) is not None
    pause(*(each.pid for each in _processes(frozen)))
    began = time.monotonic()
    said = _parley("backup", file, "--timeout", "3", env=servers | {"DATABASE_URL": frozen.url})
    assert time.monotonic() - began < 20
    assert "The backup did not complete within 3 seconds. Allow more time with --timeout SECONDS." in said
    assert not [path for path in tmp_path.iterdir() if "backup" in path.name]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_backup_that_is_broken_off_leaves_nothing(
    tmp_path: Path, servers: dict[str, str], number: signal.Signals
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    connection = await asyncpg.connect(servers["DATABASE_URL"])
    async with connection.transaction():
        await connection.execute("LOCK TABLE chats")  # so that it cannot come to its end
        process = _start("backup", folder / "backup", env=servers)
        await eventually(lambda: list(folder.iterdir()), deadline=60, what="the file being written")
        process.send_signal(number)
        await asyncio.to_thread(_said, process, 128 + number)
    await connection.close()
    assert not list(folder.iterdir())


# --- one installation ------------------------------


def _stack_in(folder: Path, *parts: str) -> Path:
    for part in ("", *parts):
        (folder / part).mkdir(parents=True, exist_ok=True)
    load_secrets(folder)
    return folder


@pytest.mark.parametrize("named", ["NATS_URL", "DATABASE_URL"])
@pytest.mark.parametrize("command", [to_read, to_write])
def test_half_of_one_installation_is_not_mixed_with_half_of_another(
    tmp_path: Path, named: str, command: object, servers: dict[str, str]
) -> None:
    folder = _stack_in(tmp_path / "data", "nats", "postgres")
    assert callable(command)
    with pytest.raises(Mixed, match=f"{named} is set and .* is not"), command(folder, {named: servers[named]}):
        pass
    verb = "backup" if command is to_read else "restore"
    file = tmp_path / "file"
    if verb == "restore":
        _parley("backup", file, code=0, env=servers)
    assert "mix two installations" in _parley(verb, file, "--data", folder, env={named: servers[named]})


def test_a_stack_with_one_server_of_its_own_is_backed_up_with_the_other_one_named(tmp_path: Path) -> None:
    folder = _stack_in(tmp_path, "postgres")
    with to_read(folder, {"NATS_URL": "nats://elsewhere"}) as place:
        assert place.nats_url == "nats://elsewhere"
        assert place.keys == folder


def _running(servers: dict[str, str]) -> state.State:
    return state.State(
        pid=os.getpid(),
        url="",
        push_url="",
        nats_url=servers["NATS_URL"],
        database_url=servers["DATABASE_URL"],
        openai_base_url=None,
        ready=True,
        processes={},
    )


def test_a_running_stack_is_only_backed_up_with_its_own_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"NATS_URL": "nats://own", "DATABASE_URL": "postgresql://own"}
    others = {"NATS_URL": "nats://other", "DATABASE_URL": "postgresql://other"}
    monkeypatch.chdir(tmp_path)
    folder = _stack_in(tmp_path / ".parley", "nats", "postgres")
    state.write(folder, _running(own))
    for environment in ({}, own, {"NATS_URL": own["NATS_URL"]}):
        with to_read(None, environment) as place:
            assert place == Installation(nats_url=own["NATS_URL"], database_url=own["DATABASE_URL"], keys=folder)
    with to_read(None, others) as place:
        assert place == Installation(nats_url=others["NATS_URL"], database_url=others["DATABASE_URL"], keys=None)
    for folder_named, environment in ((None, {"NATS_URL": others["NATS_URL"]}), (folder, others)):
        with pytest.raises(Mixed), to_read(folder_named, environment):
            pass


def test_the_key_of_a_folder_that_nobody_named_goes_into_no_backup_of_other_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = _stack_in(tmp_path / ".parley")
    for command in (to_read, to_write):
        with command(None, servers) as place:
            assert place.keys is None
        with command(folder, servers) as place:
            assert place.keys == folder
