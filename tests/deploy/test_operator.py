"""`docker compose run operator …`, as far as it goes without Docker: its entry point with its own secrets."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parley.contracts.resources import Message
from parley_client import ParleyClient
from tests.deploy.support import compose
from tests.deploy.support.stack import ComposeStack
from tests.support.demo_model import DemoModelProcess

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def stack(tmp_path: Path, demo_model_process: DemoModelProcess) -> Iterator[ComposeStack]:
    with ComposeStack(tmp_path / "compose", demo_model=demo_model_process.url, with_proxy=False) as stack:
        yield stack


async def operate(stack: ComposeStack, *arguments: str) -> str:
    """Run the service `operator` and return what it says."""
    entry = [
        word.replace("/run/secrets/parley", str(stack.secrets / "operator"))
        for word in compose.load()["services"]["operator"]["entrypoint"]
    ]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = await asyncio.to_thread(
        subprocess.run,
        [*entry, *arguments],
        env={"PATH": path},
        cwd=stack.secrets,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout + done.stderr)


async def ask(client: ParleyClient, chat_id: str, text: str) -> Message:
    async with client.watch(chat_id) as watch:
        return await watch.answer_to(await client.api.send(chat_id, text), timeout=60)


async def test_the_operator_backs_up_while_people_talk_and_restores_what_they_said(
    stack: ComposeStack, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{stack.ports['gateway']}"
    push_url = f"ws://127.0.0.1:{stack.ports['push']}/ws"
    file = str(tmp_path / "parley.backup")
    async with ParleyClient(url, push_url=push_url) as client:
        session = await client.api.begin_session()
        chat = await client.api.create_chat(model="demo-fast")
        kept = await ask(client, chat.id, "before")
        assert "Backed up" in await operate(stack, "backup", file)
        lost = await ask(client, chat.id, "after")

    for name in ("gateway", "push", "llm-worker", "chat-store"):
        assert await asyncio.to_thread(stack.processes[name].stop) == 0
    assert "Restored" in await operate(stack, "restore", "--force", file)
    for name in ("chat-store", "llm-worker", "push", "gateway"):
        stack.processes[name].start()
        await asyncio.to_thread(stack.processes[name].wait_ready)

    async with ParleyClient(url, push_url=push_url, access_token=session.access_token) as client:
        stored = {message.id: message for message in (await client.api.messages(chat.id)).items}
        assert stored[kept.id].content == kept.content
        assert lost.id not in stored
        # The role of the running service may use the tables that were made anew.
        assert (await ask(client, chat.id, "and now?")).status == "complete"
