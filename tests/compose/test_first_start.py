"""What newcomers do first: `make run` in a clean clone, in a container with Debian's Python, `make`, and nothing else.

``FIRST_START_IMAGE`` names another image to start from, with another Python.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.installation import engine_problem
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(1800)

ROOT = Path(__file__).parents[2]
_IMAGE = os.environ.get("FIRST_START_IMAGE", "python:3.11-slim-bookworm")
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_PREPARED = f"""
FROM {_IMAGE}
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends make python3 python3-venv \
 && useradd --create-home --shell /bin/sh person && chmod 0700 /root /home/person
"""
_START_SECONDS = 1500.0


def _docker(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["docker", *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=_START_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _registry() -> list[str]:
    """How npm reaches its registry here, where that is not the usual way."""
    options = ["--env", f"NODE_EXTRA_CA_CERTS={_AUTHORITIES}", "--volume", f"{_AUTHORITIES}:{_AUTHORITIES}:ro"]
    arguments = options if _AUTHORITIES.exists() else []
    if shutil.which("npm"):
        registry = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True, check=False)
        arguments += ["--env", f"npm_config_registry={registry.stdout.strip()}"]
    return arguments


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    if problem := engine_problem():
        pytest.skip(problem)
    name = f"parley-first-start-{secrets.token_hex(4)}"
    _docker("build", "--quiet", "--network", "host", "--tag", name, "-", stdin=_PREPARED)
    try:
        _docker("run", "--detach", "--init", "--name", name, *_registry(), name, "sleep", "infinity")
        yield name
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)
        subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False)


@pytest.mark.parametrize(("user", "home"), [("root", "/root"), ("person", "/home/person")])
def test_a_clean_clone_runs_to_a_finished_chat_as(container: str, user: str, home: str, tmp_path: Path) -> None:
    clone = tmp_path / "parley"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, umask=0o077)
    _docker("cp", str(clone), f"{container}:{home}/parley")
    _docker("exec", container, "chown", "--recursive", f"{user}:{user}", f"{home}/parley")
    at_home = ["--user", user, "--env", f"HOME={home}", "--workdir", f"{home}/parley"]
    log = f"{home}/run.log"
    run = f'umask 077; (make run ARGS="--port 0 --push-port 0"; echo "make ended: $?") >{log} 2>&1'
    began = time.monotonic()
    _docker("exec", "--detach", *at_home, container, "sh", "-c", run)

    def said() -> str:
        return _docker("exec", container, "sh", "-c", f"cat {log} 2>/dev/null || true")

    wait_until(
        lambda: "Parley is ready" in said() or "make ended" in said(),
        deadline=_START_SECONDS,
        every=1.0,
        what="the first start",
    )
    assert "Parley is ready" in said(), said()
    assert "Traceback" not in said(), said()
    print(f"{user}: ready {time.monotonic() - began:.0f} s after `make run`")
    answer = _docker("exec", *at_home, container, ".venv/bin/parley", "chat", "--model", "demo-fast", "hello there")
    assert "That was all about “hello there”." in answer
    processes = _docker("exec", container, "sh", "-c", "cat /proc/[0-9]*/comm || true")
    assert "postgres" in processes.splitlines()
