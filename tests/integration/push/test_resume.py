"""A socket may be cut at any point: what is assembled is the same."""

from __future__ import annotations

import random

from parley.contracts.frames import Delta, Snapshot
from tests.integration.push.backend import Backend
from tests.integration.push.conftest import Describe, url_of
from tests.integration.push.reader import WebReader, reading
from tests.support.waiting import eventually
from tests.unit.push.world import Client


def of_type(client: Client, kind: type) -> list[object]:
    return [frame for frame in client.frames if isinstance(frame, kind)]


def caught_up(client: Client, backend: Backend, chat: str) -> bool:
    ref = backend.chats[chat].ref
    assert ref is not None
    running = client.running
    attempt = backend.chats[chat].attempts[ref.generation_id, ref.attempt]
    return running is not None and running.seq == len(attempt.chunks)


async def test_a_socket_cut_after_each_delta_goes_on_where_it_was(backend: Backend, describe: Describe) -> None:
    """Over two push processes in turn; every snapshot but the first holds only what is missing."""
    chat = backend.new_chat("ann")
    client = Client()
    deltas = 40
    async with describe() as one, describe() as two, reading(url_of(one)) as stays:
        await stays.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        for number in range(deltas):
            async with reading(url_of((one, two)[number % 2]), clients={chat: client}) as reader:
                await reader.follow(chat)
                await backend.say(chat, 1 + number % 2, "text" if number % 7 else "reasoning")
                await eventually(lambda: caught_up(client, backend, chat))
            backend.chats[chat].attempts  # noqa: B018
            await backend.say(chat, 1)
        async with reading(url_of(one), clients={chat: client}) as reader:
            await reader.follow(chat)
            await backend.finish(chat)
            await eventually(lambda: client.version == backend.chats[chat].version)
    assert client.messages == backend.chats[chat].messages
    snapshots = [frame for frame in client.frames if isinstance(frame, Snapshot)]
    assert len(snapshots) == deltas + 1
    assert all(frame.recovered for frame in snapshots[1:])
    whole = [frame for frame in snapshots[2:] if frame.generation is not None and frame.generation.after == 0]
    # A process that was not there for the cut knows only the worker's snapshot; it then has every boundary after it.
    assert len(whole) <= 2
    assert backend.asked["sync"] <= 4


async def test_a_cursor_from_a_busier_process_is_waited_for(backend: Backend, url: str) -> None:
    """A reader who has more of the text than the room is not sent it twice."""
    chat = backend.new_chat("ann")
    async with reading(url) as first:
        behind = await first.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        await backend.say(chat, 3)
        await eventually(lambda: caught_up(behind, backend, chat))
        ahead = Client()
        late = backend.chats[chat].say("text", 4)  # came to another process only
        for frame in behind.frames:
            ahead.take(frame)
        ahead.take(late)
        async with reading(url, clients={chat: ahead}) as second:
            await second.follow(chat)
            assert ahead.running is not None
            assert ahead.running.seq == 7
            await backend.publish(late)
            await eventually(lambda: caught_up(behind, backend, chat))
            await backend.say(chat, 1)
            await eventually(lambda: caught_up(ahead, backend, chat))
    assert [frame for frame in ahead.frames if isinstance(frame, Delta)]


async def test_a_garbage_cursor_costs_a_page_and_nothing_more(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    await backend.answer(chat, 2)
    async with reading(url) as reader:
        client = reader.clients[chat] = Client()
        await reader.send(
            type="watch",
            chat_id=chat,
            after={"version": 2**52, "generation_id": "nonsense", "attempt": 77, "seq": 2**52},
        )
        await eventually(lambda: client.frames)
    assert client.messages == backend.chats[chat].messages
    assert client.version == backend.chats[chat].version


async def test_random_cuts_of_many_readers_end_with_identical_texts(backend: Backend, describe: Describe) -> None:
    dice = random.Random(7)
    chats = [backend.new_chat("ann") for _ in range(3)]
    readers = [{chat: Client() for chat in chats} for _ in range(4)]
    async with describe() as one, describe() as two:
        sockets: list[WebReader | None] = [None] * len(readers)
        contexts: list[object] = [None] * len(readers)

        async def reconnect(index: int) -> None:
            if contexts[index] is not None:
                await contexts[index].__aexit__(None, None, None)  # type: ignore[attr-defined]
            context = reading(url_of(dice.choice((one, two))), clients=readers[index])
            contexts[index] = context
            sockets[index] = await context.__aenter__()
            for chat in chats:
                await sockets[index].watch(chat)  # type: ignore[union-attr]

        for index in range(len(readers)):
            await reconnect(index)
        for chat in chats:
            await backend.submit(chat)
            await backend.claim(chat)
        for _ in range(120):
            chat = dice.choice(chats)
            await backend.say(chat, dice.randint(1, 3), dice.choice(("text", "text", "reasoning")))
            if dice.random() < 0.05:
                await backend.claim(chat)
            if dice.random() < 0.2:
                await reconnect(dice.randrange(len(readers)))
        for chat in chats:
            await backend.finish(chat)
        for clients in readers:
            for chat in chats:
                await eventually(lambda: clients[chat].version == backend.chats[chat].version)  # noqa: B023
                assert clients[chat].messages == backend.chats[chat].messages
        for context in contexts:
            await context.__aexit__(None, None, None)  # type: ignore[attr-defined]
