"""What gets lost on the way is noticed and asked for, and only that."""

from __future__ import annotations

from parley.contracts.frames import Generation
from parley_cli.embedded.nats import NatsServer
from tests.integration.push.backend import Backend, backend_on
from tests.integration.push.conftest import Describe, describe_on, url_of
from tests.integration.push.reader import reading
from tests.support.waiting import eventually
from tests.unit.push.world import Client


def has_all(client: Client, backend: Backend, chat: str) -> bool:
    """Whether the client has what chat-store and the worker have."""
    store = backend.chats[chat]
    if client.version != store.version or client.messages != store.messages:
        return False
    if store.ref is None:
        return client.running is None
    attempt = store.attempts[store.ref.generation_id, store.ref.attempt]
    running = client.running
    return (
        running is not None
        and running.attempt == store.ref.attempt
        and (running.text, running.reasoning) == attempt.until(len(attempt.chunks))[:2]
    )


async def test_a_gap_is_filled_by_the_worker(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    async with reading(url) as reader:
        client = await reader.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        await backend.say(chat, 3)
        backend.chats[chat].say("text", 2)
        await backend.say(chat, 1)
        await eventually(lambda: has_all(client, backend, chat))
    assert backend.asked == {"sync": 1, "snapshot": 1}


async def test_a_gap_over_both_kinds_is_filled_by_the_worker(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    async with reading(url) as reader:
        client = await reader.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        await backend.say(chat, 3, "reasoning")
        backend.chats[chat].say("reasoning", 2)
        backend.chats[chat].say("text", 2)
        await backend.say(chat, 1)
        await eventually(lambda: has_all(client, backend, chat))


async def test_a_version_jump_asks_for_just_what_changed(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    await backend.answer(chat, 1)
    async with reading(url) as reader:
        client = await reader.follow(chat)
        known = client.version
        backend.chats[chat].rename()
        await backend.submit(chat)
        await eventually(lambda: client.version == backend.chats[chat].version)
        assert client.messages == backend.chats[chat].messages
    assert [request.after for request in backend.store.rooms.synced] == [None, known]


async def test_a_lost_start_of_an_answer_is_made_up_for(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    async with reading(url) as reader:
        client = await reader.follow(chat)
        backend.chats[chat].submit()
        await backend.claim(chat)
        await backend.say(chat, 2)
        await backend.say(chat, 2)
        await eventually(lambda: has_all(client, backend, chat))
    assert backend.asked["sync"] == 2


async def test_a_takeover_is_noticed_even_when_its_announcement_is_lost(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    async with reading(url) as reader:
        client = await reader.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        await backend.say(chat, 4)
        backend.chats[chat].claim(announced=False)
        await backend.say(chat, 1)
        await eventually(lambda: has_all(client, backend, chat))
    attempts = [frame.attempt for frame in client.frames if isinstance(frame, Generation)]
    assert attempts == [1, 2]


async def test_silence_is_noticed(backend: Backend, describe: Describe) -> None:
    async with describe(SILENCE_SECONDS="1") as push, reading(url_of(push)) as reader:
        chat = backend.new_chat("ann")
        client = await reader.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        await backend.say(chat, 3)
        backend.chats[chat].say("text", 2)
        await eventually(lambda: has_all(client, backend, chat))


async def test_a_lost_end_of_an_answer_is_noticed_by_the_silence(backend: Backend, describe: Describe) -> None:
    async with describe(SILENCE_SECONDS="1", CHECK_SECONDS="600") as push, reading(url_of(push)) as reader:
        chat = backend.new_chat("ann")
        client = await reader.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        await backend.say(chat, 3)
        await backend.disown(chat)
        backend.chats[chat].finish()
        await eventually(lambda: has_all(client, backend, chat))


async def test_anti_entropy_finds_what_no_other_sign_shows(backend: Backend, describe: Describe) -> None:
    async with describe(CHECK_SECONDS="1") as push, reading(url_of(push)) as reader:
        chats = [backend.new_chat("ann") for _ in range(5)]
        clients = [await reader.follow(chat) for chat in chats]
        backend.chats[chats[2]].rename()
        await eventually(lambda: has_all(clients[2], backend, chats[2]))
        assert backend.asked["sync"] == 6


async def test_a_worker_that_is_away_is_asked_again(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    await backend.submit(chat)
    await backend.claim(chat)
    await backend.say(chat, 3)
    await backend.disown(chat)
    async with reading(url) as reader:
        client = await reader.follow(chat)
        assert client.running is not None
        assert client.running.text == ""
        await backend.claim(chat)
        await backend.say(chat, 2)
        await eventually(lambda: has_all(client, backend, chat))


async def test_chat_store_away_costs_readers_nothing_and_joiners_time(backend: Backend, url: str) -> None:
    chat, other = backend.new_chat("ann"), backend.new_chat("ann")
    async with reading(url) as reader:
        client = await reader.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        backend.store.silent = True
        await backend.say(chat, 2)
        late = await reader.watch(other)
        await backend.say(chat, 2)
        await eventually(lambda: has_all(client, backend, chat))
        await eventually(lambda: late.refused == "unavailable", deadline=30)
        backend.store.silent = False
        await eventually(lambda: has_all(late, backend, other))


async def test_nats_may_be_killed_in_the_middle_of_an_answer(nats_server: NatsServer) -> None:
    async with (
        backend_on(nats_server.url) as backend,
        describe_on(nats_server.url)() as push,
        reading(url_of(push)) as reader,
    ):
        running, quiet = backend.new_chat("ann"), backend.new_chat("ann")
        client, other = await reader.follow(running), await reader.follow(quiet)
        await backend.submit(running)
        await backend.claim(running)
        await backend.say(running, 3)
        await eventually(lambda: has_all(client, backend, running))
        nats_server.kill()
        for _ in range(4):
            backend.chats[running].say("text", 2)
        backend.chats[quiet].rename()
        await eventually(lambda: push.get("/readyz")[0] == 503)
        nats_server.start()
        await eventually(lambda: has_all(client, backend, running))
        await eventually(lambda: has_all(other, backend, quiet))
        await eventually(lambda: push.get("/readyz")[0] == 200)
        await backend.say(running, 3)
        await eventually(lambda: has_all(client, backend, running))
