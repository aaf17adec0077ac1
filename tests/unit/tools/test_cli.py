"""The ``parley`` command itself."""

import subprocess
import sys

import pytest

from parley_cli.main import main

_HEAVY = ("asyncio", "httpx", "nats", "asyncpg", "msgspec", "websockets", "uvloop")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(command in said for command in ("up", "chat", "migrate", "demo-model", "dead-letters"))


@pytest.mark.parametrize("command", ["up", "chat", "demo-model"])
def test_each_command_has_a_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"parley {command}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["nothing"], ["up", "--push", "0"], ["up", "--port", "x"]])
def test_what_it_does_not_understand_ends_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: parley" in capsys.readouterr().err


def test_the_command_imports_nothing_heavy_before_it_knows_what_to_do() -> None:
    code = "import sys, parley_cli.main; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(_HEAVY).isdisjoint(modules)


def test_a_reader_who_has_seen_enough_ends_it_without_a_traceback() -> None:
    code = """
import sys, types
from parley_cli import main as cli

def run(arguments):
    while True:
        sys.stdout.write("text" * 1000)

sys.modules["endless"] = types.SimpleNamespace(run=run)
cli._SUBCOMMANDS["endless"] = cli._Subcommand("endless", "writes for ever", arguments="")
sys.exit(cli.main(["endless"]))
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
