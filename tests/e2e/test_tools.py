"""Tools of Parley's own through the whole stack: approval, and a worker that is killed between two calls."""

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from parley.contracts.resources import Message
from parley_client import ParleyClient
from parley_client.state import ChatState
from tests.support.counting_tools import CountingTools
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

LIMIT = 90.0


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CountingTools]:
    with CountingTools(tmp_path_factory.mktemp("counting")) as server:
        yield server


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, counting: CountingTools) -> Iterator[RunningStack]:
    entries = [
        {"name": "counting", "url": counting.url},
        {"name": "careful", "url": counting.url, "tools": ["count"], "approval": "always"},
    ]
    folder: Path = tmp_path_factory.mktemp("tools") / "data"
    with RunningStack(folder, environment={"MCP_SERVERS": json.dumps(entries)}) as running:
        yield running


@pytest.fixture
async def client(stack: RunningStack, counting: CountingTools) -> AsyncIterator[ParleyClient]:
    counting.forget()
    async with stack.client() as built:
        yield built


async def ask(client: ParleyClient, content: str, model: str) -> tuple[str, str]:
    """Send a prompt in a new chat; return the ids of the chat and the prompt."""
    chat = await client.api.create_chat(model=model)
    return chat.id, await client.api.send(chat.id, content)


async def answer_to(client: ParleyClient, chat_id: str, prompt: str) -> Message:
    async with client.watch(chat_id) as watch:
        return await watch.answer_to(prompt)


async def test_a_killed_worker_runs_no_completed_call_again(
    client: ParleyClient, stack: RunningStack, counting: CountingTools
) -> None:
    chat_id, prompt = await ask(client, 'wait {"step": "a", "seconds": 0.5}', "demo-tools-5x1")
    await eventually(lambda: len(counting.counted()) >= 3, deadline=LIMIT)
    # A call begins when the results of those before it are stored.
    completed = {run.key for run in counting.counted()[:-1]}
    worker = stack.state.processes["llm-worker"].pid
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    answer = await answer_to(client, chat_id, prompt)
    assert (answer.status, answer.finish_reason, len(answer.tool_calls)) == ("complete", "stop", 5)
    assert {call.status for call in answer.tool_calls} == {"complete"}
    keys = [run.key for run in counting.counted()]
    assert len(completed) >= 2
    assert all(keys.count(key) == 1 for key in completed), "counted at the server"
    assert len(set(keys)) == 5, "one that ran again has its key"
    assert len(keys) <= 6


@pytest.mark.parametrize("approve", [True, False])
async def test_a_member_decides_about_a_call(
    client: ParleyClient, stack: RunningStack, counting: CountingTools, approve: bool
) -> None:
    chat_id, prompt = await ask(client, 'careful_count {"step": "a"}', "demo-tools")

    def waiting(state: ChatState) -> bool:
        running = state.generation
        return running is not None and any(call.status == "awaiting_approval" for call in running.tool_calls)

    async with client.watch(chat_id) as watch:
        await watch.until(waiting)
        running = watch.state.generation
        assert running is not None
        path = f"/v1/chats/{chat_id}/messages/{running.message_id}/tool-calls/{running.tool_calls[0].id}"
        async with httpx.AsyncClient(base_url=stack.url, headers=client.api.headers) as http:
            response = await http.post(path, json={"approve": approve})
        assert response.status_code == 204, response.text
        answer = await watch.answer_to(prompt)
    (call,) = answer.tool_calls
    assert (answer.status, call.status) == ("complete", "complete" if approve else "denied")
    assert len(counting.counted()) == approve
