"""A reader of a chat whose answer runs."""

from __future__ import annotations

from parley.contracts.frames import Delta, MessageFrame, Snapshot
from tests.integration.push.backend import Backend
from tests.integration.push.reader import reading
from tests.support.waiting import eventually


async def test_a_reader_follows_a_turn_from_prompt_to_stored_answer(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    async with reading(url) as reader:
        client = await reader.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        for number in range(20):
            await backend.say(chat, 1 + number % 3, "reasoning" if number < 5 else "text")
        text = backend.chats[chat].attempts[backend.chats[chat].ref.generation_id, 1].until(10**6)[:2]  # type: ignore[union-attr]
        await eventually(lambda: client.running is not None and (client.running.text, client.running.reasoning) == text)
        await backend.finish(chat)
        await eventually(lambda: client.version == backend.chats[chat].version)
        assert list(client.messages.values()) == list(backend.chats[chat].messages.values())
        assert client.running is None
    assert backend.asked == {"sync": 1}


async def test_a_joiner_in_the_middle_gets_the_text_so_far_from_the_worker(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    await backend.submit(chat)
    await backend.claim(chat)
    await backend.say(chat, 5)
    async with reading(url) as reader:
        client = await reader.follow(chat)
        assert client.running is not None
        assert client.running.seq == 5
        await backend.say(chat, 2)
        await eventually(lambda: client.running is not None and client.running.seq == 7)
    assert backend.asked == {"sync": 1, "snapshot": 1}


async def test_a_second_joiner_costs_no_request(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann", "ben")
    await backend.submit(chat)
    await backend.claim(chat)
    await backend.say(chat, 5)
    async with reading(url) as first, reading(url, "ben") as second:
        await first.follow(chat)
        asked = dict(backend.asked)
        client = await second.follow(chat)
        assert client.running is not None
        assert client.running.seq == 5
        assert backend.asked == asked


async def test_frames_are_those_of_the_bus(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    async with reading(url) as reader:
        client = await reader.follow(chat)
        await backend.answer(chat, 3)
        await eventually(lambda: client.version == backend.chats[chat].version)
    kinds = [type(frame) for frame in client.frames]
    assert kinds[0] is Snapshot
    assert kinds.count(Delta) >= 1
    assert kinds.count(MessageFrame) == 3
