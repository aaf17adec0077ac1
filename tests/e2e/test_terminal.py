"""``parley chat``."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from tests.support.stack import RunningStack

_EXAMPLE = Path(__file__).resolve().parents[2] / "clients" / "python" / "examples" / "ask.py"


async def _chat(stack: RunningStack, home: Path, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "parley_cli.main", "chat", "--url", stack.url, *arguments),
        env=os.environ | {"XDG_STATE_HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, notes = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), notes.decode()


async def test_a_question_is_answered_and_the_chat_gone_on_with(stack: RunningStack, tmp_path: Path) -> None:
    code, out, notes = await _chat(stack, tmp_path, "--model", "demo-reasoning", "about hippos")
    assert code == 0
    assert out.startswith("## About “about hippos”")
    assert out.endswith("That was all about “about hippos”.\n")
    assert "I am a demo" in notes
    chat = re.search(r"--chat (\S+)", notes)
    assert chat is not None
    code, out, _ = await _chat(stack, tmp_path, "--chat", chat[1], "--model", "demo-echo", "and rhinos")
    assert code == 0
    assert [message["role"] for message in json.loads(out)["messages"]] == ["user", "assistant", "user"]


async def test_frames_are_printed_as_json(stack: RunningStack, tmp_path: Path) -> None:
    code, out, _ = await _chat(stack, tmp_path, "--json", "--model", "demo-rate-100x50", "frames")
    frames = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert frames[0]["type"] == "snapshot"
    assert {"delta", "message"} <= {frame["type"] for frame in frames}
    deltas = "".join(frame["text"] for frame in frames if frame["type"] == "delta")
    final = [frame["message"] for frame in frames if frame["type"] == "message"][-1]
    assert final["content"].endswith(deltas)


async def test_errors_are_reported_in_words_and_in_the_exit_code(stack: RunningStack, tmp_path: Path) -> None:
    code, out, notes = await _chat(stack, tmp_path, "--model", "demo-error-401", "hi")
    assert (code, out) == (1, "")
    assert "API key" in notes
    code, _, notes = await _chat(stack, tmp_path, "--chat", "0190a000-0000-7000-8000-000000000000", "hi")
    assert code == 1
    assert notes.startswith("parley: ")
    assert "Traceback" not in notes


async def test_the_example_of_the_python_client_prints_an_answer(stack: RunningStack) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(_EXAMPLE), stack.url, "about otters"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert "about otters" in out.decode()
