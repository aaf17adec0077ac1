"""Tools of Parley's own through the whole stack: approval, and a worker that is killed between two calls."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from parley.contracts.resources import Message
from parley_client import ParleyClient
from parley_client.state import ChatState, Generation
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


class Waiting:
    """An answer that waits for a decision about its call."""

    def __init__(self, client: ParleyClient, stack: RunningStack, chat_id: str, answer: Generation) -> None:
        self._client = client
        self._url = stack.url
        self.chat_id = chat_id
        self.answer_id = answer.message_id
        self._call_id = answer.tool_calls[0].id

    async def decide(self, approve: bool, *, by: ParleyClient | None = None) -> int:
        """The status of the response."""
        path = f"/v1/chats/{self.chat_id}/messages/{self.answer_id}/tool-calls/{self._call_id}"
        headers = (by or self._client).api.headers
        async with httpx.AsyncClient(base_url=self._url, headers=headers, timeout=LIMIT) as http:
            return (await http.post(path, json={"approve": approve})).status_code


async def wait_for_approval(client: ParleyClient, stack: RunningStack, chat_id: str) -> Waiting:
    def waiting(state: ChatState) -> Generation | None:
        running = state.generation
        waits = running is not None and any(call.status == "awaiting_approval" for call in running.tool_calls)
        return running if waits else None

    async with client.watch(chat_id) as watch:
        return Waiting(client, stack, chat_id, await watch.until(waiting, timeout=LIMIT))


CAREFUL = 'careful_count {"step": "a"}'


async def test_of_decisions_at_once_one_counts_and_whoever_disagrees_is_told(
    client: ParleyClient, stack: RunningStack, counting: CountingTools
) -> None:
    chat_id, prompt = await ask(client, CAREFUL, "demo-tools")
    waiting = await wait_for_approval(client, stack, chat_id)
    async with stack.client() as other:
        await other.api.ensure_session()
        assert await waiting.decide(True, by=other) == 404, "no member"
    decisions = [number % 2 == 0 for number in range(20)]
    statuses = await asyncio.gather(*map(waiting.decide, decisions))
    answer = await answer_to(client, chat_id, prompt)
    approved = answer.tool_calls[0].status == "complete"
    assert {decision for decision, status in zip(decisions, statuses, strict=True) if status == 204} == {approved}
    assert {status for status in statuses if status != 204} == {409}
    assert len(counting.counted()) == approved
    assert await waiting.decide(True) == 409, "it has ended"


@pytest.mark.parametrize("when_busy", ["interrupt", "rollback"])
async def test_an_answer_that_waits_for_approval_is_interrupted_by_fifty_at_once(
    client: ParleyClient, stack: RunningStack, counting: CountingTools, when_busy: str
) -> None:
    chat_id, prompt = await ask(client, CAREFUL, "demo-tools")
    waiting = await wait_for_approval(client, stack, chat_id)
    queued = await client.api.send(chat_id, "queued", model="demo-fast")
    sent = await asyncio.gather(
        *(client.api.send(chat_id, f"{n}", model="demo-fast", when_busy=when_busy) for n in range(50))
    )

    async def answers() -> dict[str, list[Message]]:
        found: dict[str, list[Message]] = {}
        for message in await client.api.all_messages(chat_id):
            if message.role == "assistant" and message.status in ("complete", "stopped", "failed"):
                found.setdefault(message.parent_id or "", []).append(message)
        return found

    async def all_answered() -> bool:
        return set(await answers()) == {prompt, queued, *sent}

    await eventually(all_answered, deadline=LIMIT)
    found = await answers()
    assert {len(of_one) for of_one in found.values()} == {1}
    assert found[prompt][0].status == "stopped"
    # The fifty come before it in the queue; one that is accepted only after all others are answered stops it.
    assert found[queued][0].status in ("complete", "stopped")
    assert "failed" not in {of_one[0].status for of_one in found.values()}
    assert counting.counted() == []
    assert await waiting.decide(True) == 409


async def test_a_turn_whose_call_runs_is_rolled_back_before_the_queue(
    client: ParleyClient, stack: RunningStack, counting: CountingTools
) -> None:
    chat_id, prompt = await ask(client, 'wait {"step": "a", "seconds": 300}', "demo-tools")
    await eventually(lambda: len(counting.counted()) == 1, deadline=LIMIT)
    queued = await client.api.send(chat_id, "queued", model="demo-fast")
    rolled = await client.api.send(chat_id, "instead", model="demo-fast", when_busy="rollback")
    assert (await answer_to(client, chat_id, rolled)).status == "complete"
    assert (await answer_to(client, chat_id, queued)).status == "complete"
    await eventually(lambda: len(counting.counted("cancelled")) == 1, deadline=LIMIT)
    messages = {message.id: message for message in await client.api.all_messages(chat_id)}
    assert messages[rolled].parent_id == messages[prompt].parent_id
    (stopped,) = [message for message in messages.values() if message.parent_id == prompt]
    assert (stopped.status, stopped.tool_calls[0].status) == ("stopped", "failed")
    assert len(counting.counted()) == 1
