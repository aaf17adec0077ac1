"""The npm packages that speak protocols which Parley serves, unchanged, in front of a whole Parley."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.support.node import NODE
from tests.support.stack import RunningStack

_HERE = Path(__file__).parent

SCENARIOS = {
    "ai_sdk.mjs": ("chat", "tools", "errors", "resume", "page", "stop"),
    "ag_ui.mjs": ("chat", "tools", "errors", "resume", "page"),
    "openai.mjs": ("completions", "tools", "errors", "responses"),
}


@pytest.mark.parametrize(
    ("script", "scenario"),
    [pytest.param(script, name, id=f"{script} {name}") for script, names in SCENARIOS.items() for name in names],
)
async def test_a_package_works_unchanged(stack: RunningStack, script: str, scenario: str) -> None:
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
