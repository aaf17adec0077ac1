"""Crash anything at any moment: each accepted prompt is stored once, in order, and each answer ends."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from nats.aio.msg import Msg

from chat_store.app import ChatStore
from chat_store.events.publisher import Publisher
from chat_store.settings import Settings
from chat_store.storage import schema
from parley.contracts import rpc
from parley.contracts.streams import CHAT_STORE_PROMPTS
from parley.runtime.nats.connect import connect, wait_until_processed
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from parley.runtime.nats.pull import PullConsumer
from parley_cli.embedded.nats import NatsServer
from tests.chaos.proxy import Proxy
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import StartStore
from tests.support.databases import Databases
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually


async def prompts_of(store: Neighbour, chat_id: str) -> list[str]:
    return [one.id for one in await store.messages(chat_id) if one.role == "user"]


async def all_stored(store: Neighbour, chat_id: str, prompts: list[str], *, deadline: float = 45.0) -> None:
    async def look() -> bool:
        try:
            return len(await prompts_of(store, chat_id)) >= len(prompts)
        except (RpcRefused, BusUnavailable):
            return False

    await eventually(look, deadline=deadline, what="every prompt being stored")
    assert await prompts_of(store, chat_id) == prompts, "once each, in the order in which they were accepted"


@asynccontextmanager
async def serving(nats_url: str, database_url: str) -> AsyncIterator[None]:
    """chat-store in this process, so that a test can break it from within."""
    stop = asyncio.Event()
    settings = Settings(nats_url=nats_url, database_url=database_url)  # type: ignore[call-arg]
    task = asyncio.create_task(ChatStore(settings).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def test_a_request_lost_between_commit_and_publish_is_made_up_for(
    start_store: StartStore, neighbour: Neighbour, nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object, **__: object) -> None:
        pass

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "request", nothing)
        async with serving(nats_url, database_url):
            chat_id = await eventually(lambda: _chat(neighbour))
            assert chat_id is not None
            prompts = [await neighbour.say(chat_id) for _ in range(3)]
            await all_stored(neighbour, chat_id, prompts)
        assert neighbour.requested == []
    async with start_store():
        for number in (1, 2, 3):
            await neighbour.answer(chat_id, number=number)
        await all_stored(neighbour, chat_id, prompts)
        assert len(neighbour.requested) == 3


async def _chat(store: Neighbour) -> str | None:
    try:
        return await store.chat()
    except BusUnavailable:
        return None


async def test_a_published_request_whose_mark_was_lost_is_not_published_twice(
    start_store: StartStore, neighbour: Neighbour, nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr("chat_store.storage.generations.mark_requested", lost)
        async with serving(nats_url, database_url):
            chat_id = await eventually(lambda: _chat(neighbour))
            assert chat_id is not None
            await neighbour.say(chat_id)
            await neighbour.request_for(chat_id)
    async with start_store() as store:
        await eventually(lambda: 'kind="request_published"} 1.0' in store.get("/metrics")[1])
        assert (await neighbour.js.stream_info("CHAT")).state.messages == 2


async def test_killed_in_the_middle_of_prompts_it_stores_each_once_in_order(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    store = start_store()
    async with store:
        chat_id = await neighbour.chat()
        prompts: list[str] = []
        for _ in range(4):
            for _ in range(25):
                prompts.append(await neighbour.say(chat_id, str(len(prompts))))
            store.kill()
            store.start()
        await all_stored(neighbour, chat_id, prompts)


async def test_a_killed_leader_is_followed_by_another_replica_at_once(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    first, second = start_store(), start_store()
    async with first, second:
        chat_id = await neighbour.chat()
        prompts = [await neighbour.say(chat_id) for _ in range(20)]
        leader, other = (first, second) if _leads(first) else (second, first)
        assert not _leads(other)
        prompts += [await neighbour.say(chat_id) for _ in range(20)]
        leader.kill()
        began = time.monotonic()
        prompts += [await neighbour.say(chat_id) for _ in range(20)]
        await all_stored(neighbour, chat_id, prompts)
        # Well before the server would give the unacknowledged prompts to another (ack_wait, 30 s).
        assert time.monotonic() - began < 15
        assert _leads(other)
        leader.start()
        await asyncio.to_thread(leader.wait_ready)


def _leads(store: ServiceProcess) -> bool:
    return "parley_chat_store_leader 1.0" in store.get("/metrics")[1]


async def test_a_paused_leader_is_replaced_and_cannot_write_when_it_wakes(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    first, second = start_store(), start_store()
    async with first, second:
        await eventually(lambda: _leads(first) or _leads(second))
        leader, other = (first, second) if _leads(first) else (second, first)
        # The other answers requests; the paused one would let its share time out.
        chat_id = await neighbour.chat()
        prompts = [await neighbour.say(chat_id) for _ in range(5)]
        await all_stored(neighbour, chat_id, prompts)
        leader.pause()
        prompts += [await neighbour.say(chat_id) for _ in range(20)]
        await eventually(lambda: _leads(other), deadline=30, what="the other leading")
        leader.signal(signal.SIGCONT)
        await eventually(lambda: not _leads(leader), deadline=30, what="the first having stepped down")
        prompts += [await neighbour.say(chat_id) for _ in range(5)]
        await all_stored(neighbour, chat_id, prompts)


async def test_a_prompt_whose_delivery_is_lost_is_not_overtaken(
    start_store: StartStore, neighbour: Neighbour, nats_url: str
) -> None:
    """A connection that breaks, or a leader that was paused, takes deliveries with it until ``ack_wait`` has passed."""
    lost: list[Msg] = []

    async def keep(message: Msg) -> None:
        if message.reply:
            lost.append(message)

    thief = await connect(nats_url, name="thief")
    inbox = thief.new_inbox()
    await thief.subscribe(inbox, cb=keep)
    await wait_until_processed(thief)
    async with start_store():
        chat_id = await neighbour.chat()
        prompts: list[str] = []
        for number in range(20):
            await thief.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{CHAT_STORE_PROMPTS.stream}.{CHAT_STORE_PROMPTS.name}", b"1", reply=inbox
            )
            await wait_until_processed(thief)
            prompts += [await neighbour.say(chat_id, f"{number}.{part}") for part in range(2)]
        await eventually(lambda: len(lost) >= 5, what="deliveries being lost")
        await thief.close()
        prompts.append(await neighbour.say(chat_id, "and one more"))
        await all_stored(neighbour, chat_id, prompts, deadline=15)


async def test_a_new_leader_carries_out_what_the_one_before_had_in_hand(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    """More than one transaction takes; the server would give it out again after ``ack_wait``."""
    store = start_store()
    async with store:
        chats = [await neighbour.chat() for _ in range(3)]
        await asyncio.to_thread(store.stop)
        prompts: dict[str, list[str]] = {chat_id: [] for chat_id in chats}
        for number in range(100):
            for chat_id in chats:
                prompts[chat_id].append(await neighbour.say(chat_id, str(number)))
        dead = PullConsumer(neighbour.nc, CHAT_STORE_PROMPTS, batch=512)
        taken = 0
        while taken < 300:
            taken += len(await asyncio.wait_for(dead.next_batch(), 30))
        # The open request takes these, too.
        last = {chat_id: await neighbour.say(chat_id, "last") for chat_id in chats}
        store.start()
        await asyncio.to_thread(store.wait_ready)
        for chat_id in chats:
            await all_stored(neighbour, chat_id, [*prompts[chat_id], last[chat_id]], deadline=20)
        await eventually(lambda: "Carrying out 303 prompts" in store.log)


async def test_a_prompt_that_was_lost_with_the_connection_is_stored_once_there_is_another(
    start_store: StartStore, neighbour: Neighbour, nats_server: NatsServer
) -> None:
    """Nobody sends anything more; the server would give it out again after ``ack_wait``."""
    async with Proxy("chat-store", ("127.0.0.1", nats_server.port)) as proxy:
        through = nats_server.url.replace(str(nats_server.port), str(proxy.port))
        async with start_store(NATS_URL=through) as store:
            await eventually(lambda: _leads(store), deadline=30, what="leading")
            chat_id = await neighbour.chat()
            # What the server sends arrives nowhere.
            proxy.stall(on=True)
            prompts = [await neighbour.say(chat_id)]
            await eventually(lambda: _pending(neighbour), deadline=10, what="the delivery")
            proxy.reset()
            proxy.stall(on=False)
            await all_stored(neighbour, chat_id, prompts, deadline=0.75 * CHAT_STORE_PROMPTS.ack_wait)


async def _pending(neighbour: Neighbour) -> bool:
    """Whether a prompt is with somebody."""
    info = await neighbour.js.consumer_info(CHAT_STORE_PROMPTS.stream, CHAT_STORE_PROMPTS.name)
    return bool(info.num_ack_pending)


async def test_two_replicas_keep_the_order_of_a_chat(start_store: StartStore, neighbour: Neighbour) -> None:
    async with start_store(), start_store():
        chats = [await neighbour.chat() for _ in range(4)]
        prompts: dict[str, list[str]] = {chat_id: [] for chat_id in chats}
        for number in range(30):
            for chat_id in chats:
                prompts[chat_id].append(await neighbour.say(chat_id, str(number)))
        for chat_id in chats:
            for number in range(1, 6):
                await neighbour.answer(chat_id, number=number)
            await all_stored(neighbour, chat_id, prompts[chat_id])


async def test_killing_postgres_under_load_loses_nothing(
    start_store: StartStore, neighbour: Neighbour, databases: Databases
) -> None:
    async with start_store() as store:
        chat_id = await neighbour.chat()
        prompts: list[str] = []
        for _ in range(3):
            prompts += [await neighbour.say(chat_id, str(number)) for number in range(15)]
            databases.server.kill()
            try:
                prompts += [await neighbour.say(chat_id, str(number)) for number in range(15)]
                began = time.monotonic()
                with pytest.raises(RpcRefused) as refused:
                    await neighbour.get(chat_id)
                assert refused.value.code == "unavailable"
                assert refused.value.retry_after
                assert time.monotonic() - began < 4
                await eventually(lambda: "Postgres does not answer" in store.get("/readyz")[1])
                assert store.get("/healthz")[0] == 200
            finally:
                databases.server.start()
        await all_stored(neighbour, chat_id, prompts)
        for number in range(1, 6):
            await neighbour.answer(chat_id, number=number)
        assert (await neighbour.js.stream_info("DEAD_LETTERS")).state.messages == 0
        await eventually(lambda: store.get("/readyz")[0] == 200)


async def test_an_end_that_comes_while_postgres_is_away_is_stored_afterwards(
    start_store: StartStore, neighbour: Neighbour, databases: Databases
) -> None:
    async with start_store():
        chat_id = await neighbour.chat()
        await neighbour.say(chat_id)
        claimed = await neighbour.claimed(await neighbour.request_for(chat_id))
        databases.server.kill()
        try:
            await neighbour.finish(claimed, "while it was away")
        finally:
            databases.server.start()

        async def stored() -> bool:
            try:
                found = await neighbour.message(chat_id, claimed.message_id)
            except (RpcRefused, BusUnavailable):
                return False
            return found is not None and found.content == "while it was away"

        await eventually(stored, deadline=30)


async def _restart(nats_server: NatsServer, neighbour: Neighbour) -> None:
    before = neighbour.nc.stats["reconnects"]
    nats_server.kill()
    nats_server.start()
    await eventually(lambda: neighbour.nc.stats["reconnects"] > before)


async def test_killing_nats_under_load_loses_nothing(
    start_store: StartStore, neighbour: Neighbour, nats_server: NatsServer
) -> None:
    async with start_store():
        chat_id = await neighbour.chat()
        prompts: list[str] = []
        for _ in range(3):
            prompts += [await neighbour.say(chat_id, str(number)) for number in range(15)]
            await _restart(nats_server, neighbour)
        await all_stored(neighbour, chat_id, prompts)
        for number in range(1, 6):
            await neighbour.answer(chat_id, number=number)


async def test_after_sigterm_it_finishes_what_it_has_begun(start_store: StartStore, neighbour: Neighbour) -> None:
    store = start_store()
    async with store:
        chat_id = await neighbour.chat()
        prompts = [await neighbour.say(chat_id) for _ in range(100)]
        assert await asyncio.to_thread(store.stop) == 0
        prompts += [await neighbour.say(chat_id) for _ in range(10)]
        store.start()
        began = time.monotonic()
        await all_stored(neighbour, chat_id, prompts)
        assert time.monotonic() - began < 20
        info = await neighbour.js.consumer_info("CHAT", "chat-store-prompts")
        assert info.num_redelivered == 0


async def test_it_starts_before_its_servers_and_waits_for_them(
    start_store: StartStore, nats_server: NatsServer, databases: Databases, neighbour: Neighbour
) -> None:
    nats_server.stop()
    databases.server.stop()
    store = start_store()
    store.wait_on_entering = False
    async with store:
        databases.server.start()
        nats_server.start()
        await asyncio.to_thread(store.wait_ready)
        await neighbour.ask(rpc.GetUsage(user_id="ann"))


async def test_a_schema_that_breaks_under_it_is_reported_once_and_waited_out(
    start_store: StartStore, database_url: str, neighbour: Neighbour
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with start_store() as store:
            chat_id = await neighbour.chat()
            await connection.execute("ALTER TABLE messages RENAME TO elsewhere")
            message_id = await neighbour.say(chat_id, "Hello")
            # Each further try is in the log of level DEBUG.
            await eventually(
                lambda: store.log.count("DEBUG   chat_store.events.leadership: No longer consuming prompts") >= 3
            )
            await connection.execute("ALTER TABLE elsewhere RENAME TO messages")
            await eventually(lambda: connection.fetchval("SELECT count(*) > 0 FROM messages WHERE id = $1", message_id))
            await eventually(lambda: store.log.count("Consuming prompts") == 2)
            await eventually(
                lambda: store.log.count("WARNING chat_store.events.leadership: No longer consuming prompts") == 1
            )
    finally:
        await connection.close()


async def test_a_connection_that_breaks_off_during_the_start_is_made_again(
    start_store: StartStore, neighbour: Neighbour, nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, tries = schema.check, 0

    async def broken_off(connection: Any) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        await check(connection)

    monkeypatch.setattr(schema, "check", broken_off)
    async with serving(nats_url, database_url):
        await eventually(lambda: tries == 3)

        async def answers() -> bool:
            try:
                await neighbour.ask(rpc.GetUsage(user_id="ann"), timeout=1)
            except BusUnavailable:
                return False
            return True

        await eventually(answers)
