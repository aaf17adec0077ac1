"""What is accepted is answered: many prompts of one chat, and an outage of chat-store."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import urllib.request
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from parley_cli.demo_model.stats import Snapshot
from parley_client import ParleyClient
from tests.support.pausing import pause
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

OUTAGE = float(os.environ.get("PARLEY_TEST_OUTAGE", "8"))
"""Seconds."""
PEOPLE = 10
ROUNDS = 10


def _stats(stack: RunningStack) -> Snapshot:
    port = stack.state.processes["demo-model"].port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=5) as response:
        return msgspec.json.decode(response.read(), type=Snapshot)


async def test_a_hundred_prompts_to_one_chat_are_answered_in_order_one_at_a_time(
    stack: RunningStack, client: ParleyClient
) -> None:
    chat = await client.api.create_chat(model="demo-rate-500x20")
    contents = [f"{number} of a hundred in {chat.id}" for number in range(100)]
    async with client.watch(chat.id) as watch:
        prompts = [await client.api.send(chat.id, content) for content in contents]
        await watch.answer_to(prompts[-1], timeout=90)
    messages = {message.id: message for message in await client.api.all_messages(chat.id)}
    assert len(messages) == 200
    answers = {message.parent_id: message for message in messages.values() if message.role == "assistant"}
    assert [messages[prompt].parent_id for prompt in prompts] == [None, *(answers[one].id for one in prompts[:-1])]
    for prompt, content in zip(prompts, contents, strict=True):
        assert answers[prompt].status == "complete"
        assert content in answers[prompt].content
    streams = [one for one in _stats(stack).streams if chat.id in one.prompt]
    assert [one.prompt for one in streams] == contents
    for earlier, later in pairwise(streams):
        assert earlier.ended is not None
        assert earlier.ended <= later.started, "two answers of a chat were made at once"


@pytest.mark.timeout(240)
async def test_while_chat_store_is_stopped_sends_are_accepted_and_afterwards_all_are_answered(tmp_path: Path) -> None:
    async with RunningStack(tmp_path / "data") as stack, AsyncExitStack() as clients:
        people = [await clients.enter_async_context(stack.client()) for _ in range(PEOPLE)]
        chats = [(await client.api.create_chat(model="demo-rate-200x20")).id for client in people]
        accepted: list[list[str]] = [[] for _ in people]

        async def send(person: int, content: str) -> None:
            accepted[person].append(await people[person].api.send(chats[person], content))

        # From here on each chat is known.
        await asyncio.gather(*(send(person, "before") for person in range(PEOPLE)))
        store = stack.state.processes["chat-store"].pid
        assert store is not None
        pause(store)
        stopped = time.monotonic()
        try:
            for number in range(1, ROUNDS + 1):
                async with asyncio.timeout(10):
                    await asyncio.gather(*(send(person, f"during, {number}") for person in range(PEOPLE)))
                due = stopped + OUTAGE * number / ROUNDS
                await eventually(lambda due=due: time.monotonic() >= due, deadline=OUTAGE + 1)  # type: ignore[misc]
        finally:
            os.kill(store, signal.SIGCONT)
        for client, chat, prompts in zip(people, chats, accepted, strict=True):
            async with client.watch(chat) as watch:
                answers = [await watch.answer_to(prompt, timeout=90) for prompt in prompts]
            assert {answer.status for answer in answers} == {"complete"}
            messages = await client.api.all_messages(chat)
            assert sorted(one.id for one in messages if one.role == "user") == sorted(prompts)
            assert len(messages) == 2 * len(prompts)
            parents = {one.id: one.parent_id for one in messages}
            assert [parents[prompt] for prompt in prompts] == [None, *(answer.id for answer in answers[:-1])]
