"""``parley chat`` where there is nobody to talk to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from parley_cli.embedded.ports import free_port
from parley_cli.main import app
from parley_cli.stack import probe


def test_without_a_stack_the_error_explains_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(port: int) -> bool:
        return False

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARLEY_URL", raising=False)
    monkeypatch.setattr(probe, "serves_page", nobody)
    done = CliRunner().invoke(app, ["chat", "hello"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr == (
        "parley: No stack runs in this folder, and nothing like Parley answers on port 8000. "
        "Start a stack with `parley up`, or name a server with --url.\n"
    )


@pytest.mark.parametrize("named", ["--url", "PARLEY_URL"])
def test_a_server_that_does_not_answer_is_named(named: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    option, variable = (["--url", url], {}) if named == "--url" else ([], {"PARLEY_URL": url})
    done = subprocess.run(
        [sys.executable, "-m", "parley_cli.main", "chat", *option, "hello"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variable},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"parley: Parley at {url} does not answer"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Error(" not in done.stderr
