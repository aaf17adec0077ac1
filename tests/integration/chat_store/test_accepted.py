"""After a 202 every request finds the message, or its sender is informed that it was not stored."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg

from parley.contracts import ids, rpc, subjects
from parley.contracts.live import PromptRejected
from parley.contracts.resources import Message
from parley.runtime.nats.connect import wait_until_processed
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from parley.runtime.nats.publish import publish_durable, publish_durable_raw
from tests.integration.chat_store.client import Neighbour, prompt
from tests.integration.chat_store.conftest import StartStore
from tests.support.waiting import eventually


async def rejections(store: Neighbour) -> list[PromptRejected]:
    """Collect the rejections of prompts that were not stored."""
    rejected: list[PromptRejected] = []

    async def on_rejected(message: Msg) -> None:
        rejected.append(msgspec.json.decode(message.data, type=PromptRejected))

    await store.nc.subscribe(subjects.ANY_LIVE_REJECTED, cb=on_rejected)
    await wait_until_processed(store.nc)
    return rejected


async def state(store: Neighbour, chat_id: str, message_id: str, *, user_id: str = "ann") -> Message:
    request = rpc.GetMessage(user_id=user_id, chat_id=chat_id, message_id=message_id)
    return (await store.ask(request)).message


async def test_a_stop_right_after_the_202_is_never_swallowed(store: Neighbour) -> None:
    """Forty times, with other prompts under way; named by the prompt, and not named at all."""
    busy = [await store.chat() for _ in range(5)]
    for number in range(40):
        chat_id = await store.chat()
        await asyncio.gather(*(store.say(chat, f"load {number}") for chat in busy))
        prompt_id = await store.say(chat_id)
        named = prompt_id if number % 2 else None
        await store.ask(rpc.Stop(user_id="ann", chat_id=chat_id, message_id=named))
        question, answer = await store.messages(chat_id)
        assert (question.id, question.status, answer.status) == (prompt_id, "sent", "stopped")


async def test_a_stop_waits_for_what_is_not_stored_yet(start_store: StartStore, neighbour: Neighbour) -> None:
    """Nobody stores prompts while the process that leads is paused; the other one answers requests."""
    async with start_store() as first:
        chat_id = await neighbour.chat()
        await neighbour.say(chat_id, "so that there is a leader")
        await neighbour.claimed(await neighbour.request_for(chat_id))
        await neighbour.ask(rpc.Stop(user_id="ann", chat_id=chat_id))
        other = await neighbour.chat()
        async with start_store():
            first.pause()
            prompt_id = await neighbour.say(other, "not stored yet")

            async def stop() -> bool:
                try:
                    await neighbour.ask(rpc.Stop(user_id="ann", chat_id=other, message_id=prompt_id), timeout=3)
                except RpcRefused as refused:
                    assert refused.code == "unavailable"  # noqa: PT017
                    return False
                except BusUnavailable:
                    return False  # went to the one that is paused
                return True

            await eventually(stop, deadline=40)
            first.signal(signal.SIGCONT)
        _, answer = await neighbour.messages(other)
        assert answer.status == "stopped"


async def test_what_follows_a_202_finds_the_message(store: Neighbour) -> None:
    """Reading it, taking it back, having it answered again, choosing it as the branch."""
    for _ in range(10):
        chat_id = await store.chat()
        first = await store.say(chat_id, "first")
        assert (await state(store, chat_id, first)).id == first
        second = await store.say(chat_id, "second")
        await store.ask(rpc.DeleteMessage(user_id="ann", chat_id=chat_id, message_id=second))
        chat_id = await store.chat()
        only = await store.say(chat_id, "only")
        await store.ask(rpc.UpdateChat(user_id="ann", chat_id=chat_id, tip_id=only))
        chat_id = await store.chat()
        only = await store.say(chat_id, "only")
        request = rpc.Regenerate(user_id="ann", chat_id=chat_id, message_id=only, answer_id=ids.new_id())
        with pytest.raises(RpcRefused) as refused:
            await store.ask(request)
        assert refused.value.code == "conflict", "it is there, and its first answer runs"


async def test_a_message_that_nobody_sent_is_not_found_at_once(store: Neighbour) -> None:
    chat_id = await store.chat()
    nobody = ids.new_id()
    requests: list[rpc.Request[Any]] = [
        rpc.GetMessage(user_id="ann", chat_id=chat_id, message_id=nobody),
        rpc.Stop(user_id="ann", chat_id=chat_id, message_id=nobody),
        rpc.DeleteMessage(user_id="ann", chat_id=chat_id, message_id=nobody),
        rpc.GetMessage(user_id="ann", chat_id=nobody, message_id=nobody),
    ]
    for request in requests:
        with pytest.raises(RpcRefused) as refused:
            await store.ask(request, timeout=1.5)
        assert refused.value.code == "not_found"


async def test_the_author_of_a_prompt_that_cannot_be_stored_is_informed(store: Neighbour) -> None:
    rejected = await rejections(store)
    chat_id = await store.chat()
    taken = await store.say(chat_id, "first")
    gone = await store.chat()
    await store.ask(rpc.DeleteChat(user_id="ann", chat_id=gone))
    sent = {
        "chat_not_found": (gone, await store.say(gone), "ann"),
        "not_a_member": (chat_id, await store.say(chat_id, user_id="bob"), "bob"),
    }
    other = prompt(chat_id, "another", message_id=taken)
    await publish_durable(store.js, other, msg_id=ids.new_id(), deadline=10)
    await eventually(lambda: len([one for one in rejected if one.chat_id in (chat_id, gone)]) >= 3)
    assert {one.error.code for one in rejected if one.chat_id in (chat_id, gone)} == {*sent, "id_taken"}
    for code, (chat, message_id, user_id) in sent.items():
        message = await state(store, chat, message_id, user_id=user_id)
        assert message.status == "rejected"
        assert message.error is not None
        assert (message.error.code, message.author_id, message.content) == (code, user_id, "")
        with pytest.raises(RpcRefused):
            await state(store, chat, message_id, user_id="eve")
    assert (await state(store, chat_id, taken)).content == "first", "one's own message keeps its id"
    assert all(message.status != "rejected" for message in await store.messages(chat_id))


async def test_a_rejected_prompt_that_is_let_in_later_is_a_message(store: Neighbour) -> None:
    chat_id = await store.chat()
    event = prompt(chat_id, user_id="bob")
    await publish_durable(store.js, event, deadline=10)
    assert (await state(store, chat_id, event.message_id, user_id="bob")).status == "rejected"
    await store.join(chat_id, "bob")
    await publish_durable(store.js, event, msg_id=ids.new_id(), deadline=10)
    await store.request_for(chat_id)
    assert (await state(store, chat_id, event.message_id, user_id="bob")).status == "sent"


async def test_a_prompt_that_becomes_a_dead_letter_is_rejected_too(store: Neighbour) -> None:
    rejected = await rejections(store)
    chat_id = await store.chat()
    future = prompt(chat_id, v=1)
    body = msgspec.json.encode(future)
    # Of a version to come: the letter stays for the program that knows it.
    await publish_durable_raw(
        store.js, subjects.prompt_submitted(chat_id), body.replace(b'"v":1', b'"v":2'), future.id, deadline=10
    )
    await eventually(lambda: [one.error.code for one in rejected if one.chat_id == chat_id] == ["not_stored"])
    message = await state(store, chat_id, future.message_id)
    assert message.error is not None
    assert (message.status, message.error.code) == ("rejected", "not_stored")


async def test_a_deleted_chat_leaves_nothing_in_the_streams(store: Neighbour) -> None:
    chat_id, kept = await store.chat(), await store.chat()
    for chat in (chat_id, kept):
        await store.say(chat)
        claimed = await store.claimed(await store.request_for(chat))
        await store.finish(claimed)
        await store.say(chat, "a second")
        await store.request_for(chat, number=2)
        await store.js.publish(subjects.generation_segment(chat), b"a segment")
        await store.js.publish(subjects.dead_letter("chat-store-prompts", chat), b"a dead letter")
        await store.js.publish(subjects.dead_letter("llm-worker-requests", chat), b"a dead letter")

    async def stored_messages(chat: str) -> int:
        found = 0
        for stream, subject in (("CHAT", "chat"), ("SEGMENTS", "chat"), ("DEAD_LETTERS", "dead")):
            subject = f"chat.{chat}.>" if subject == "chat" else subjects.dead_letters_of_chat(chat)
            info = await store.js.stream_info(stream, subjects_filter=subject)
            found += sum((info.state.subjects or {}).values())
        return found

    before = await stored_messages(kept)
    assert await stored_messages(chat_id) == before >= 7
    await store.ask(rpc.DeleteChat(user_id="ann", chat_id=chat_id))

    async def nothing() -> bool:
        return await stored_messages(chat_id) == 0

    await eventually(nothing, what="the streams being purged")
    assert await stored_messages(kept) == before
    # What comes late is removed the next time; a prompt's author is informed first.
    late = await store.say(chat_id, "late")
    assert (await state(store, chat_id, late)).status == "rejected"
