"""Two senders at once in a busy chat, two hundred times for each mode: what was said is what happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from parley.contracts import rpc
from parley.contracts.completion import WhenBusy
from parley.contracts.resources import Message
from parley.runtime.nats.connect import connect
from tests.integration.chat_store.client import Neighbour
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

TIMES = 200
AT_ONCE = 10
"""Chats in which two senders collide at the same time."""


@pytest_asyncio.fixture
async def other(shared_store: ServiceProcess, module_nats_url: str) -> AsyncIterator[Neighbour]:
    """The second sender, on a connection of its own."""
    nc = await connect(module_nats_url, name="test-other")
    try:
        yield Neighbour(nc)
    finally:
        await nc.close()


async def repeat(collide: Callable[[int], Awaitable[None]]) -> None:
    """Let the senders collide in ``TIMES`` chats."""
    numbers = iter(range(TIMES))

    async def some() -> None:
        for number in numbers:
            await collide(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())


async def send_both(store: Neighbour, other: Neighbour, chat_id: str, when_busy: WhenBusy) -> list[rpc.TurnReply]:
    """Let two senders send at once, and each ask at once what came of it."""

    async def send(sender: Neighbour, content: str) -> rpc.TurnReply:
        prompt_id = await sender.say(chat_id, content, when_busy=when_busy)
        return await sender.ask(rpc.GetTurn(user_id="ann", chat_id=chat_id, message_id=prompt_id))

    return list(await asyncio.gather(send(store, "one"), send(other, "two")))


async def answer_all(store: Neighbour, chat_id: str, *, first: int) -> None:
    """Be the worker of a chat from its ``first`` request on, until nothing is left to answer."""
    number = first
    while True:

        async def next_or_idle(number: int = number) -> bool:
            return requests_of(store, chat_id) >= number or not (await store.get(chat_id)).running

        await eventually(next_or_idle, what="a request, or the chat being idle")
        if requests_of(store, chat_id) < number:
            return
        claimed = await store.claim(await store.request_for(chat_id, number=number))
        if isinstance(claimed, rpc.Claimed):
            stopped = claimed.verdict == "stop_requested"
            await store.finish(claimed, "" if stopped else "whole", outcome="stopped" if stopped else "complete")
            await ended(store, chat_id, claimed.message_id)
        number += 1


def requests_of(store: Neighbour, chat_id: str) -> int:
    return len([one for one in store.requested if one.chat_id == chat_id])


async def ended(store: Neighbour, chat_id: str, message_id: str) -> None:
    async def look() -> bool:
        found = await store.ask(rpc.GetTurn(user_id="ann", chat_id=chat_id, message_id=message_id))
        return found.answer is not None and found.answer.status in ("complete", "stopped")

    await eventually(look, what="an answer ending")


def turns_of(messages: list[Message]) -> list[tuple[Message, Message]]:
    """Return the prompts in the order in which they were answered, each with its only answer."""
    prompts = [one for one in messages if one.role == "user"]
    found = []
    for prompt in prompts:
        assert prompt.status == "sent"
        (answer,) = [one for one in messages if one.parent_id == prompt.id and one.role == "assistant"]
        found.append((prompt, answer))
    assert len(messages) == 2 * len(found)
    return found


async def test_enqueued_prompts_are_both_answered_in_turn(store: Neighbour, other: Neighbour) -> None:
    async def collide(_number: int) -> None:
        chat_id = await store.chat()
        await store.say(chat_id, "first")
        said = await send_both(store, other, chat_id, "enqueue")
        assert [one.prompt.status for one in said] == ["queued", "queued"]
        await answer_all(store, chat_id, first=1)
        turns = turns_of(await store.messages(chat_id))
        assert {prompt.id for prompt, _ in turns[1:]} == {one.prompt.id for one in said}
        assert [answer.status for _, answer in turns] == ["complete"] * 3
        assert [prompt.parent_id for prompt, _ in turns] == [None, *(answer.id for _, answer in turns[:-1])]

    await repeat(collide)


async def test_one_of_two_prompts_that_are_to_be_rejected_is_answered(store: Neighbour, other: Neighbour) -> None:
    async def collide(_number: int) -> None:
        chat_id = await store.chat()
        said = await send_both(store, other, chat_id, "reject")
        assert sorted(one.prompt.status for one in said) == ["rejected", "sent"]
        rejected = next(one.prompt for one in said if one.prompt.status == "rejected")
        assert rejected.error is not None
        assert rejected.error.code == "chat_busy"
        await answer_all(store, chat_id, first=1)
        # Sent again, when the chat is not busy any more: the same event, as after a crash of chat-store.
        again = await store.ask(rpc.GetTurn(user_id="ann", chat_id=chat_id, message_id=rejected.id))
        assert again.prompt.status == "rejected"
        ((prompt, answer),) = turns_of(await store.messages(chat_id))
        assert (prompt.id != rejected.id, answer.status) == (True, "complete")

    await repeat(collide)


@pytest.mark.parametrize("when_busy", ["interrupt", "rollback"])
async def test_an_answer_is_interrupted_by_two_prompts_at_once(
    store: Neighbour, other: Neighbour, when_busy: WhenBusy
) -> None:
    async def collide(number: int) -> None:
        chat_id = await store.chat()
        await store.say(chat_id, "before")
        await store.answer(chat_id)
        first_id = await store.say(chat_id, "first")
        request = await store.request_for(chat_id, number=2)
        running = await store.claimed(request) if number % 2 else None
        said = await send_both(store, other, chat_id, when_busy)
        if running is not None:
            await eventually(lambda: running.generation_id in store.signals, what="the stop signal")
            await store.finish(running, "so far", outcome="stopped")
            await ended(store, chat_id, running.message_id)
        await answer_all(store, chat_id, first=3)

        before, first, *rest = turns_of(await store.messages(chat_id))
        (first_prompt, first_answer) = first
        assert first_prompt.id == first_id
        assert (first_answer.status, first_answer.content) == ("stopped", "so far" if running else "")
        assert {prompt.id for prompt, _ in rest} == {one.prompt.id for one in said}
        # The later one stopped the answer to the earlier one, or went before it.
        assert [answer.status for _, answer in rest] in (["stopped", "complete"], ["complete", "complete"])
        parents = [prompt.parent_id for prompt, _ in rest]
        if when_busy == "rollback":
            assert parents == [before[1].id] * 2
        else:
            assert parents == [first_answer.id, rest[0][1].id]

    await repeat(collide)
