"""LangChain and LiteLLM as clients, unchanged, each in its own environment."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.e2e.litellm import proxy
from tests.e2e.openai.conftest import Caller

_PYTHON = proxy.PROGRAM.with_name("python")

pytestmark = [
    pytest.mark.skipif(not proxy.PROGRAM.exists(), reason="the clients are not installed in .venv-litellm"),
    pytest.mark.timeout(240),
]


@pytest.mark.parametrize("client", ["langchain", "litellm"])
async def test_a_client_answers_streams_calls_tools_and_raises_errors(caller: Caller, client: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(_PYTHON, Path(__file__).with_name("clients.py"), client, caller.base_url, caller.key),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Prices come with the package, and nothing is reported.
        env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"},
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    # LiteLLM prints advice about an error before.
    got = json.loads(out.splitlines()[-1])
    assert "otters" in got["whole"]
    assert got["streamed"] == got["whole"]
    assert got["batch"] == [got["whole"]] * 3
    assert got["tokens"] > 100
    assert got["calls"] == ["look"]
    assert got["answered"] == "The tools returned: two otters"
    assert any(kind in got["refused"] for kind in ("BadRequest", "InvalidRequest", "ContextWindowExceeded"))
