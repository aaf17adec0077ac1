"""A reader in another language, written from ``docs/protocol.md`` alone, misses nothing wherever it is cut."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.support.stack import RunningStack

READER = Path(__file__).parent / "foreign" / "reader.pl"


@pytest.mark.skipif(shutil.which("perl") is None, reason="there is no Perl here")
@pytest.mark.parametrize("seed", range(3))
async def test_a_reader_written_from_the_documentation_may_be_cut_anywhere(stack: RunningStack, seed: int) -> None:
    """Each socket ends after a random number of bytes, in the middle of a frame as a rule."""
    process = await asyncio.create_subprocess_exec(
        *("perl", str(READER), stack.url, "demo-rate-100x400", str(seed)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(150):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert err == b""
    found = json.loads(out)
    async with stack.client(access_token=found["token"]) as client:
        stored = (await client.api.all_messages(found["chat_id"]))[-1]
    assert stored.status == "complete"
    assert found["answer"]["content"] == stored.content
    assert stored.content.startswith(found["text_before_the_end"])
    count = found["count"]
    assert count["connections"] > 10
    assert count["taken_back"] == 0, "text is never taken back"
    assert count["recovered"] >= count["connections"] // 4, "it goes on from its cursor"
