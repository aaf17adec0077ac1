"""``parley up`` and mistakes: a sentence that names the thing, the cause and what to do, and nothing left running."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parley_cli.embedded.errors import UnusableFolder
from parley_cli.embedded.folder import lock_folder
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.nats import NatsServer, nats_program
from parley_cli.embedded.ports import free_port, is_free
from parley_cli.stack.secrets import load_secrets
from tests.support.databases import Databases
from tests.support.waiting import wait_until

_ORDINARY = 65_534


def _parley(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command, which is to end by itself, and return its exit code and all that it said."""
    done = subprocess.run(
        [sys.executable, "-m", "parley_cli.main", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return done.returncode, said


def _up(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    ports = [word for name in ("--port", "--push-port") if name not in arguments for word in (name, "0")]
    return _parley("up", "--data", str(folder), *ports, *arguments, **environment)


# --- ports and addresses ------------------------------


@pytest.mark.parametrize("option", ["--port", "--push-port"])
@pytest.mark.parametrize("value", ["99999", "65536", "-1", "8000.5", "eighty"])
def test_a_number_that_is_no_port_is_refused(tmp_path: Path, option: str, value: str) -> None:
    code, said = _up(tmp_path / "data", f"{option}={value}")
    assert code == 2
    assert f"Invalid value for '{option}': '{value}' is not a port: 0 to 65535" in said
    assert not (tmp_path / "data").exists()


def test_one_port_for_two_things_is_refused(tmp_path: Path) -> None:
    port = str(free_port())
    code, said = _up(tmp_path / "data", "--port", port, "--push-port", port)
    assert code == 1
    assert f"parley: Port {port} cannot serve both the page and the websockets." in said
    assert "parley up --push-port " in said


@pytest.mark.parametrize(
    ("host", "cause"),
    [
        ("192.0.2.1", "this machine has no address 192.0.2.1."),
        ("no-such-host.invalid", "no-such-host.invalid is no host name or address that is known here."),
        ("2001:db8::1", "this machine has no address 2001:db8::1."),
        ("a" * 300, "is no host name or address that is known here."),
    ],
)
def test_an_address_that_is_not_of_this_machine_is_not_a_taken_port(tmp_path: Path, host: str, cause: str) -> None:
    code, said = _up(tmp_path / "data", "--host", host)
    assert code == 1
    assert cause in said
    assert "--host" in said
    assert "taken" not in said


# --- the data folder ------------------------------


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "below"):
        code, said = _up(folder)
        assert code == 1
        assert f"parley: The data folder {folder} cannot be used: it, or what is above it, is a file" in said
    assert file.read_text() == "mine"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account may pass."""
    folder = Path(subprocess.check_output(["mktemp", "--directory"], text=True).strip())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else, too")


@contextmanager
def _as_somebody_else() -> Iterator[None]:
    os.seteuid(_ORDINARY)
    try:
        yield
    finally:
        os.seteuid(0)


@_AS_ROOT
def test_a_folder_of_another_account_is_reported(open_folder: Path) -> None:
    with (
        _as_somebody_else(),
        pytest.raises(UnusableFolder, match=f"folder {open_folder} cannot be used: this account may not write there"),
        lock_folder(open_folder),
    ):
        pass
    load_secrets(open_folder)
    with _as_somebody_else(), pytest.raises(UnusableFolder, match=r"may belong to another one \(.*secrets.json\)"):
        load_secrets(open_folder)


@_AS_ROOT
def test_a_file_system_that_can_only_be_read_is_reported(tmp_path: Path) -> None:
    code, said = _up(Path("/proc/parley"))
    assert code == 1
    assert "The data folder /proc/parley cannot be used: " in said


def test_data_that_something_else_made_or_damaged_is_reported(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    code, said = _up(tmp_path)
    assert code == 1
    assert "PostgreSQL did not make it" in said
    (tmp_path / "secrets.json").write_text("{")
    code, said = _up(tmp_path)
    assert code == 1
    assert f"{tmp_path / 'secrets.json'} is damaged" in said
    assert (tmp_path / "secrets.json").read_text() == "{"


# --- servers of others ------------------------------


@pytest.fixture
def bare_nats(tmp_path: Path) -> Iterator[str]:
    """A nats-server without JetStream."""
    port = free_port()
    process = subprocess.Popen(
        guarded([nats_program(), "--addr", "127.0.0.1", "--port", str(port)]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: not is_free(port), what="nats-server")
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("command", ["up", "migrate"])
def test_servers_that_can_never_do_are_reported_at_once(
    tmp_path: Path, command: str, databases: Databases, nats_server: NatsServer, bare_nats: str
) -> None:
    good = {"NATS_URL": nats_server.url, "DATABASE_URL": databases.empty()}
    for changed, text, fix in (
        ({"NATS_URL": bare_nats}, "JetStream is off.", "Start nats-server with"),
        ({"NATS_URL": "http://x"}, "NATS_URL begins with http://, which is no address of NATS.", "nats://USER"),
        (
            {"DATABASE_URL": "mysql://u:secret@h/d"},
            "DATABASE_URL begins with mysql://",
            "It has the form postgresql://",
        ),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL is no address of PostgreSQL.", "It has the form postgresql://"),
        ({"NATS_URL": "nats://u:secret@h:99999"}, "NATS_URL names the port '99999'", "1 to 65535"),
        ({"DATABASE_URL": "postgresql://u:secret@h:port/d"}, "DATABASE_URL names the port 'port'", "1 to 65535"),
        ({"DATABASE_URL": f"{good['DATABASE_URL']}_not"}, "has no such database", "Create it (CREATE DATABASE"),
        (
            {"DATABASE_URL": good["DATABASE_URL"].replace(":test@", ":secret@")},
            "refuses the role or",
            "Set DATABASE_URL",
        ),
    ):
        environment = good | changed
        code, said = _up(tmp_path / "data", **environment) if command == "up" else _parley("migrate", **environment)
        assert code == 1, said
        assert said.startswith("parley: "), said
        assert text in said
        assert fix in said
        assert "secret" not in said
        assert len(said.splitlines()) == 1, said


def test_a_setting_that_a_service_refuses_is_reported_once(tmp_path: Path) -> None:
    code, said = _up(tmp_path / "data", SECRET_KEY="short")
    assert code == 1
    assert "does not start with these settings:" in said
    assert "SECRET_KEY" in said.splitlines()[-1]
    assert "restarting it" not in said
