"""The ``parley`` command itself."""

import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from parley_cli.main import app

_HEAVY = ("asyncio", "httpx", "nats", "asyncpg", "msgspec", "websockets", "uvloop", "rich.console", "rich.progress")


def test_help_names_every_command() -> None:
    done = CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0
    commands = ("up", "chat", "migrate", "demo-model", "doctor", "backup", "restore", "dead-letters")
    assert all(f"  {command} " in done.stdout for command in commands)


@pytest.mark.parametrize(
    "command", ["up", "chat", "migrate", "demo-model", "doctor", "backup", "restore", "dead-letters replay"]
)
def test_each_command_has_a_help_of_its_own(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="parley")
    assert done.exit_code == 0
    assert f"Usage: parley {command}" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nothing"],
        ["dead-letters"],
        ["up", "--push", "0"],
        ["up", "--port", "x"],
        ["up", "--data", ""],
        ["doctor", "--service", "8000"],
        ["backup", "file", "--timeout", "nan"],
        ["backup", "file", "--timeout", "0"],
        ["dead-letters", "drop", "1", "--all"],
        ["keys", "create", "user", "--name", "robot"],
        ["keys", "create", "user", "--name", " ", "--scope", "read"],
        ["keys", "create", "user", "--name", "robot", "--scope", "everything"],
        ["keys", "create", "user", "--name", "robot", "--scope", "read", "--expires", "2020-01-01"],
    ],
)
def test_wrong_usage_ends_with_two(words: list[str]) -> None:
    done = CliRunner().invoke(app, words, prog_name="parley")
    assert done.exit_code == 2
    assert "Usage: parley" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("words", [[], ["--help"], ["nothing"], ["up", "--help"], ["dead-letters", "--help"]])
def test_the_command_imports_nothing_heavy_before_a_command_runs(words: list[str]) -> None:
    code = """
import contextlib, sys, parley_cli.main
with contextlib.suppress(SystemExit):
    if sys.argv[1:]:
        parley_cli.main.main()
print()
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert set(_HEAVY).isdisjoint(done.stdout.splitlines()[-1].split())


def test_a_closed_pipe_ends_it_without_a_traceback() -> None:
    code = """
import sys
from parley_cli import main as cli

@cli.app.command(cls=cli.Command)
def endless() -> int:
    while True:
        sys.stdout.write("text" * 1000)

sys.argv = ["parley", "endless"]
cli.main()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(4) == "text"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 1


ENDLESS = """
import signal
from parley_cli import main as cli

@cli.app.command(cls=cli.Command)
def endless() -> int:
    signal.raise_signal(signal.{signal})
    return 0

import sys
sys.argv = ["parley", "endless"]
signal.signal(signal.{ignored}, signal.SIG_IGN)
cli.main()
"""


@pytest.mark.parametrize(
    ("received", "ignored"),
    [
        pytest.param(signal.SIGTERM, signal.SIGQUIT, id="SIGTERM"),
        pytest.param(signal.SIGHUP, signal.SIGQUIT, id="SIGHUP"),
        pytest.param(signal.SIGTERM, signal.SIGINT, id="SIGTERM of a background job"),
    ],
)
def test_a_signal_interrupts_a_command_with_one_sentence(received: signal.Signals, ignored: signal.Signals) -> None:
    code = ENDLESS.format(signal=received.name, ignored=ignored.name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + received, "", "parley: endless was interrupted\n")


def test_a_hangup_does_not_interrupt_a_command_that_nohup_started() -> None:
    code = ENDLESS.format(signal="SIGHUP", ignored="SIGHUP")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
