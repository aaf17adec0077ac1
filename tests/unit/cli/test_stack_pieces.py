"""The small parts of ``parley up``."""

import asyncio
import errno
import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from chat_store.storage import indexes, schema, search_index
from parley.contracts import streams
from parley.contracts.access.permissions import USERS
from parley.runtime.nats import provision
from parley_cli.embedded import ports
from parley_cli.embedded.ports import LOOPBACK, PortSet, free_port, is_free
from parley_cli.local_model import server as local_model
from parley_cli.stack import probe, state
from parley_cli.stack.errors import StackError
from parley_cli.stack.log import CombinedLog, Lines
from parley_cli.stack.migration import MigrationStamp
from parley_cli.stack.options import StackOptions
from parley_cli.stack.process import ProcessSpec, SupervisedProcess
from parley_cli.stack.secrets import load_secrets
from parley_cli.stack.stack import _SERVER_WARNINGS, Stack
from tests.support.waiting import eventually


def test_secrets_are_made_once_and_kept_private(tmp_path: Path) -> None:
    first = load_secrets(tmp_path)
    assert load_secrets(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert len(first.secret_key) >= 32
    other = tmp_path / "other"
    other.mkdir()
    assert load_secrets(other) != first


def test_every_user_of_the_bus_has_a_password_of_its_own(tmp_path: Path) -> None:
    passwords = load_secrets(tmp_path).nats_passwords
    assert set(passwords) == {user.user for user in USERS}
    assert len(set(passwords.values())) == len(USERS)


def test_a_stack_is_read_back_while_its_process_lives(tmp_path: Path) -> None:
    written = state.State(
        pid=os.getpid(),
        url="http://127.0.0.1:1",
        push_url="ws://127.0.0.1:2/ws",
        nats_url="nats://127.0.0.1:3",
        database_url="postgresql://127.0.0.1:4/parley",
        openai_base_url=None,
        ready=True,
        processes={"push-1": state.ProcessState(service="push", pid=5), "nats": state.ProcessState(service="nats")},
    )
    assert state.read(tmp_path) is None
    state.write(tmp_path, written)
    assert state.read(tmp_path) == written
    assert list(written.of("push")) == ["push-1"]
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600
    gone = json.loads((tmp_path / "stack.json").read_text()) | {"pid": 2**22 + 1}
    (tmp_path / "stack.json").write_text(json.dumps(gone))
    assert state.read(tmp_path) is None, "of a supervisor that was killed"
    (tmp_path / "stack.json").write_text("{")
    assert state.read(tmp_path) is None
    state.remove(tmp_path)
    state.remove(tmp_path)


def test_a_stack_whose_state_another_account_wrote_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert state.read(tmp_path) is None


def test_lines_are_cut_from_whatever_pieces_come() -> None:
    out = io.StringIO()
    lines = Lines(CombinedLog(out), "push")
    for piece in (b"one\ntw", b"o\r\n", b"\xff\n", b"no end"):
        lines.feed(piece)
    lines.end()
    assert [line.split("| ")[1] for line in out.getvalue().splitlines()] == ["one", "two", "\ufffd", "no end"]
    assert lines.last == ["one", "two", "\ufffd", "no end"]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    out = io.StringIO()
    lines = Lines(CombinedLog(out), "push")
    for _ in range(100):
        lines.feed(b"x" * 10_000)
    assert len(lines._rest) <= 64 * 1024
    assert len(out.getvalue()) > 900_000


def test_only_warnings_and_errors_of_the_servers_are_shown() -> None:
    out = io.StringIO()
    lines = Lines(CombinedLog(out), "nats", _SERVER_WARNINGS)
    lines.feed(
        b"[1] [INF] Starting\n[1] [WRN] Plaintext passwords detected\n[1] [WRN] slow consumer\n"
        b"LOG:  checkpoint\nFATAL:  no space\n"
    )
    assert "slow consumer" in out.getvalue()
    assert "no space" in out.getvalue()
    assert len(out.getvalue().splitlines()) == 2
    assert len(lines.last) == 5, "but all of it is there when it fails"


def test_each_process_has_a_colour_on_a_terminal_and_none_in_a_file() -> None:
    terminal, file = io.StringIO(), io.StringIO()
    for out, colour in ((terminal, True), (file, False)):
        log = CombinedLog(out, colour=colour)
        log.line("push", "a")
        log.line("gateway", "b")
        log.announce("ready")
    assert len(set(re.findall(r"\x1b\[(\d\d)m(?:push|gateway)", terminal.getvalue()))) == 2
    assert "\x1b" not in file.getvalue()


def test_a_closed_terminal_does_not_end_the_stack() -> None:
    out = io.StringIO()
    out.close()
    CombinedLog(out, colour=False).line("push", "nobody hears this")


def test_a_stamp_holds_for_all_places_or_for_none(tmp_path: Path) -> None:
    places = [tmp_path / "nats", tmp_path / "postgres"]
    for place in places:
        place.mkdir()
    stamp = MigrationStamp(places)
    assert not stamp.is_current()
    stamp.set()
    assert MigrationStamp(places).is_current()
    (places[0] / "migrated").unlink()
    assert not stamp.is_current(), "the streams were removed by hand"
    stamp.set()
    (places[1] / "migrated").write_text("of an earlier version")
    assert not stamp.is_current()


@pytest.mark.parametrize("part", [schema, indexes, search_index, streams, provision])
def test_a_stack_is_migrated_again_when_a_part_of_the_migration_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: ModuleType
) -> None:
    stamp = MigrationStamp([tmp_path])
    stamp.set()
    read = Path.read_bytes

    def read_changed(file: Path) -> bytes:
        return read(file) + (b"# changed" if str(file) == part.__file__ else b"")

    monkeypatch.setattr(Path, "read_bytes", read_changed)
    assert not stamp.is_current()


@pytest.mark.parametrize(
    ("inherited", "wanted"),
    [
        ({}, "demo-model"),
        ({"OPENAI_API_KEY": ""}, "demo-model"),
        ({"OPENAI_API_KEY": "x"}, None),
        ({"OPENAI_BASE_URL": "x"}, None),
        ({"MODEL": "smollm2"}, "local-model"),
        ({"MODEL": "smollm2", "OPENAI_BASE_URL": "x"}, None),
        ({"MODEL": "demo-slow"}, "demo-model"),
    ],
)
def test_the_demo_model_answers_unless_another_is_named(inherited: dict[str, str], wanted: str | None) -> None:
    assert StackOptions(folder=Path(), inherited=inherited).model_server == wanted


async def test_a_missing_local_model_is_reported_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_model, "model_file", lambda: None)
    stack = Stack(
        StackOptions(folder=tmp_path, port=0, push_port=0, inherited={"MODEL": "smollm2"}), CombinedLog(io.StringIO())
    )
    with pytest.raises(StackError, match="`make run MODEL=smollm2` installs it"):
        await stack.__aenter__()
    assert stack.processes == {}


@pytest.mark.skipif(sys.platform != "linux", reason="ports are claimed on Linux only")
def test_a_port_is_drawn_by_one_process_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = free_port()
    code = f"from parley_cli.embedded import ports; ports._RANGE = [{theirs}]; ports.free_port()"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "No free port was found" in other.stderr
    for _ in range(ports._MAX_CLAIMS + 1):
        free_port()
    monkeypatch.setattr(ports, "_RANGE", [theirs])
    assert free_port() == theirs


def test_a_free_port_is_none_that_an_outgoing_connection_may_get() -> None:
    port = free_port()
    assert port < 32_768
    with socket.create_server((LOOPBACK, port)):
        assert not is_free(port)
    assert is_free(port)


def test_no_two_processes_of_a_stack_get_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([20_001, 20_001, 20_002, 20_002, 20_001, 20_003])
    monkeypatch.setattr(ports, "free_port", lambda: next(drawn))
    taken = PortSet((20_003,))
    assert [taken.draw(), taken.draw()] == [20_001, 20_002]
    monkeypatch.setattr(ports, "free_port", lambda: 20_003)
    with pytest.raises(OSError, match="No free port"):
        taken.draw()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("here.example", "http://here.example:8000"),
    ],
)
def test_the_address_of_the_page_is_one_to_click_on(host: str, url: str) -> None:
    stack = Stack(StackOptions(folder=Path(), host=host), CombinedLog(io.StringIO()))
    assert stack.url == url
    assert stack.push_url.startswith(url.replace("http", "ws").removesuffix(":8000"))


def _process(script: str, log: CombinedLog, *, ready: bool = True) -> SupervisedProcess:
    async def is_ready() -> bool:
        return ready

    spec = ProcessSpec(name="gateway", service="gateway", command=lambda: ["/bin/sh", "-c", script], ready=is_ready)
    return SupervisedProcess(spec, log, restart_delays=(0.001, 0.002), on_change=lambda: None)


async def test_a_process_that_keeps_ending_is_reported_and_not_with_every_end() -> None:
    out = io.StringIO()
    process = _process("sleep 0.05; echo no room left; exit 1", CombinedLog(out))
    await process.start()
    await eventually(lambda: process.restarts > 6, what="restarts")
    await process.stop()
    assert "gateway ended with exit code 1, 3 times in a row: Parley does not work as it should." in out.getvalue()
    assert "  no room left" in out.getvalue()
    assert out.getvalue().count("exit code 1") == 4, "the first and second, the third, the fourth; then the eighth"


async def test_a_restart_that_was_requested_is_immediate_and_not_reported_as_an_end() -> None:
    out = io.StringIO()
    process = _process("echo started; exec sleep 60", CombinedLog(out))
    await process.start()
    first = process.pid
    await process.restart()
    await eventually(lambda: process.pid not in (None, first), what="a new process")
    await process.stop()
    assert process.restarts == 1
    assert "ended with" not in out.getvalue()


async def test_a_wrong_setting_ends_the_start_at_once() -> None:
    out = io.StringIO()
    process = _process("echo gateway: SECRET_KEY: too short; exit 2", CombinedLog(out), ready=False)
    with pytest.raises(StackError, match="gateway does not start with these settings:\n  gateway: SECRET_KEY"):
        await process.start()
    assert process.restarts == 0


async def test_a_stack_is_ready_only_while_all_of_it_serves_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serves(port: int, host: str) -> bool:
        return True

    async def nobody_serves(port: int, host: str) -> bool:
        return False

    monkeypatch.setattr(probe, "serves_page", serves)
    monkeypatch.setattr(probe, "serves_sockets", serves)
    log = CombinedLog(io.StringIO())
    stack = Stack(StackOptions(folder=tmp_path, port=0, push_port=0), log)
    stack.processes = {"up": _process("exec sleep 60", log), "down": _process("exec sleep 60", log, ready=False)}
    starting = [asyncio.create_task(process.start()) for process in stack.processes.values()]
    await starting[0]
    assert await stack._not_served() == ["down"]
    monkeypatch.setattr(probe, "serves_page", nobody_serves)
    assert await stack._not_served() == ["down", f"the page at {stack.url}"]
    starting[1].cancel()
    await asyncio.gather(*(process.stop() for process in stack.processes.values()))
