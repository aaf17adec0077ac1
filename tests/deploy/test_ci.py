"""``.ci/run`` runs both kinds of tests and ends with one line that has their sum."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.support.paths import ROOT

ENGINE = """\
#!/bin/sh
echo "engine ${1:-start}" >>calls
case ${1:-start} in start) echo "export DOCKER_HOST=tcp://here"; exit STARTS ;; esac
"""


def run(folder: Path, *, test: str, compose: str = "", engine: int | None = None) -> tuple[int, list[str], list[str]]:
    """Run it with a Makefile of these commands; return the exit code, its lines, and what was called."""
    project = folder / "project"
    (project / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", project / ".ci/run")
    (project / "Makefile").write_text(
        f'test:\n\t@echo test >>calls; {test}\ntest-compose:\n\t@echo "compose $$DOCKER_HOST" >>calls; {compose}\n'
    )
    if engine is not None:
        program = folder / "shared/engine/engine"
        program.parent.mkdir(parents=True)
        program.write_text(ENGINE.replace("STARTS", str(engine)))
        program.chmod(0o755)
    done = subprocess.run([project / ".ci/run"], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.splitlines(), (project / "calls").read_text().splitlines()


def counted(counts: str, code: int = 0) -> str:
    return f'echo "{counts}" >>"$$TEST_COUNTS"; echo "the tests say something"; exit {code}'


@pytest.mark.parametrize(
    ("test", "compose", "code", "last"),
    [
        (counted("7 0 0"), counted("3 0 0"), 0, "10 passed, 0 failed"),
        (counted("7 0 2"), counted("3 0 1"), 0, "10 passed, 0 failed, 3 skipped"),
        (counted("7 1 0", 1), counted("3 0 0"), 1, "10 passed, 1 failed"),
        (counted("7 0 0"), counted("3 2 0", 1), 1, "10 passed, 2 failed"),
        # The set-up failed: nothing was counted.
        ("exit 2", counted("3 0 0"), 1, "3 passed, 1 failed"),
        (counted("7 0 0"), "", 0, "7 passed, 0 failed"),
    ],
)
def test_the_last_line_has_the_sum(tmp_path: Path, test: str, compose: str, code: int, last: str) -> None:
    ended, lines, calls = run(tmp_path, test=test, compose=compose, engine=0)
    assert (ended, lines[-1]) == (code, last)
    assert calls == ["test", "engine start", "compose tcp://here", "engine stop"]


def test_without_an_engine_compose_is_not_tried(tmp_path: Path) -> None:
    ended, lines, calls = run(tmp_path, test=counted("7 0 1"))
    assert (ended, lines[-1]) == (0, "7 passed, 0 failed, 1 skipped")
    assert calls == ["test"]


def test_an_engine_that_does_not_start_is_reported(tmp_path: Path) -> None:
    ended, lines, calls = run(tmp_path, test=counted("7 0 0"), engine=1)
    assert (ended, lines[-1]) == (0, "7 passed, 0 failed")
    assert any("compose tests did not run" in line for line in lines)
    assert calls == ["test", "engine start", "engine stop"]
