"""Rooms around a bus that is scripted: how much is asked, when, and when a room ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar, cast

import msgspec
import pytest

from parley.contracts import rpc, subjects
from parley.contracts.ids import new_id
from parley.contracts.live import PresenceReport
from parley.runtime.nats.errors import BusUnavailable, NoResponder, RpcRefused
from parley.runtime.tasks import end
from push.bus.connection import Handler
from push.bus.delta_headers import DeltaHeaders
from push.metrics import ADDED_DELAY, Counters
from push.rooms.reader import Reader
from push.rooms.registry import Rooms, Timing
from tests.support.chat_store.scripted_chat import ScriptedChat
from tests.support.waiting import eventually
from tests.unit.push.world import Client, make_reader

Reply = TypeVar("Reply")


class FakeBus:
    """Chats without a network.

    Attributes:
        away: chat-store does not answer.
        slow: Seconds that each answer of chat-store takes.
        at_once: The most requests that were under way together.
    """

    connected = True

    def __init__(self) -> None:
        self.chats: dict[str, ScriptedChat] = {}
        self.followed: dict[str, Handler] = {}
        self.subscriptions = 0
        self.asked: list[tuple[str, int | None]] = []
        self.compared = 0
        self.away = False
        self.slow = 0.0
        self.under_way = self.at_once = 0

    def new_chat(self) -> ScriptedChat:
        store = ScriptedChat(new_id(), ("ann",))
        self.chats[store.chat_id] = store
        return store

    async def subscribe(self, subject: str, handler: Handler) -> FakeSubscription:
        chat_id = subject.split(".")[1]
        self.followed[chat_id] = handler
        self.subscriptions += 1
        return FakeSubscription(self, chat_id)

    async def publish(self, subject: str, event: PresenceReport) -> None:
        self.followed[event.chat_id](subject.encode(), msgspec.json.encode(event), None)

    async def ask(self, request: rpc.Request[Reply], *, timeout: float, subject: str | None = None) -> Reply:
        match request:
            case rpc.Sync():
                return cast(Reply, await self._sync(request.chat_id, request.after))
            case rpc.Versions():
                return cast(Reply, await self._versions(request.chats))
            case _:
                return cast(Reply, await self._snapshot(subject or ""))

    async def _sync(self, chat_id: str, after: int | None) -> rpc.SyncReply:
        self.asked.append((chat_id, after))
        self.under_way += 1
        self.at_once = max(self.at_once, self.under_way)
        await asyncio.sleep(self.slow)
        self.under_way -= 1
        if self.away:
            raise BusUnavailable("away")
        if chat_id not in self.chats:
            raise RpcRefused("not_found", "No such chat.")
        return self.chats[chat_id].sync(after)

    def asked_about(self, chat_id: str) -> int:
        return sum(chat == chat_id for chat, _ in self.asked)

    async def _versions(self, chats: dict[str, int]) -> rpc.VersionsReply:
        self.compared += 1
        if self.away:
            raise BusUnavailable("away")
        moved = {
            chat_id: self.chats[chat_id].version if chat_id in self.chats else -1
            for chat_id, version in chats.items()
            if chat_id not in self.chats or self.chats[chat_id].version != version
        }
        return rpc.VersionsReply(moved=moved)

    async def _snapshot(self, subject: str) -> rpc.GenerationSnapshot:
        for store in self.chats.values():
            ref = store.ref
            if ref is None or subject != subjects.rpc_generation_snapshot(ref.generation_id):
                continue
            if (snapshot := store.snapshot(ref.generation_id)) is not None:
                return snapshot
        raise NoResponder(subject)


class FakeSubscription:
    def __init__(self, bus: FakeBus, chat_id: str) -> None:
        self.bus = bus
        self.chat_id = chat_id

    async def unsubscribe(self) -> None:
        self.bus.subscriptions -= 1
        self.bus.followed.pop(self.chat_id, None)


@asynccontextmanager
async def running(bus: FakeBus, **timing: float) -> AsyncIterator[Rooms]:
    times = {"tick": 0.02, "linger": 0.1, "check": 600.0, "quiet": 600.0, "snapshot_timeout": 600.0} | timing
    rooms = Rooms(bus, Counters(), Timing(**times))
    upkeep = [asyncio.create_task(work) for work in (rooms.watch_clock(), rooms.check_versions())]
    try:
        yield rooms
    finally:
        await end(*upkeep)
        await rooms.close()


def join(rooms: Rooms, chat_id: str, user: str = "ann") -> tuple[Client, Reader]:
    client = Client()
    reader = make_reader(user, client.write)
    rooms.join(rooms.room(chat_id), reader)
    return client, reader


@pytest.mark.parametrize("same", [True, False], ids=["one chat again and again", "a new one each time"])
async def test_a_chat_that_does_not_exist_leaves_neither_room_nor_subscription(same: bool) -> None:
    bus = FakeBus()
    chat = new_id()
    async with running(bus, linger=600.0) as rooms:
        for _ in range(100):
            client, _ = join(rooms, chat if same else new_id())
            await eventually(lambda: client.refused == "not_found")  # noqa: B023
        await eventually(lambda: bus.subscriptions == 0)
        assert len(rooms) == 0


async def test_a_chat_of_somebody_else_leaves_neither_room_nor_subscription() -> None:
    bus = FakeBus()
    chat = bus.new_chat().chat_id
    async with running(bus, linger=600.0) as rooms:
        client, _ = join(rooms, chat, "eve")
        await eventually(lambda: client.refused == "not_found")
        await eventually(lambda: bus.subscriptions == 0)
        assert len(rooms) == 0


async def test_who_leaves_before_the_answer_takes_the_room_along() -> None:
    bus = FakeBus()
    bus.slow = 0.2
    async with running(bus, linger=600.0) as rooms:
        for _ in range(20):
            chat = new_id()
            _, reader = join(rooms, chat)
            rooms.leave(rooms.room(chat), reader)
        assert len(rooms) == 0
        await eventually(lambda: bus.subscriptions == 0)


async def test_joiners_who_come_together_cost_one_request() -> None:
    bus = FakeBus()
    chat = bus.new_chat().chat_id
    async with running(bus) as rooms:
        clients = [join(rooms, chat)[0] for _ in range(200)]
        await eventually(lambda: all(client.version == 1 for client in clients))
    assert bus.asked == [(chat, None)]


async def test_requests_of_many_rooms_are_bounded() -> None:
    bus = FakeBus()
    bus.slow = 0.01
    async with running(bus) as rooms:
        clients = [join(rooms, bus.new_chat().chat_id)[0] for _ in range(300)]
        await eventually(lambda: all(client.version == 1 for client in clients))
    assert bus.at_once == 64
    assert len(bus.asked) == 300


async def test_a_room_outlives_its_last_reader_for_a_moment() -> None:
    bus = FakeBus()
    chat = bus.new_chat().chat_id
    async with running(bus, linger=0.3) as rooms:
        client, reader = join(rooms, chat)
        await eventually(lambda: client.version == 1)
        rooms.room(chat).readers.leave(reader)
        again, reader = join(rooms, chat)
        assert again.version == 1
        rooms.room(chat).readers.leave(reader)
        await eventually(lambda: len(rooms) == 0)
        await eventually(lambda: bus.followed == {})
        again, _ = join(rooms, chat)
        await eventually(lambda: again.version == 1)
    assert len(bus.asked) == 2


async def test_a_room_of_a_chat_that_does_not_exist_ends_at_once() -> None:
    bus = FakeBus()
    async with running(bus, linger=600) as rooms:
        client, _ = join(rooms, new_id())
        await eventually(lambda: client.refused == "not_found")
        await eventually(lambda: len(rooms) == 0)
        await eventually(lambda: bus.followed == {})


async def test_who_waits_is_informed_once_and_served_in_the_end() -> None:
    bus = FakeBus()
    bus.away = True
    chat = bus.new_chat().chat_id
    async with running(bus, snapshot_timeout=0.1) as rooms:
        client, _ = join(rooms, chat)
        await eventually(lambda: client.refused == "unavailable")
        await eventually(lambda: len(bus.asked) >= 4)
        assert len(client.frames) == 1
        bus.away = False
        await eventually(lambda: client.version == 1)


async def test_chat_store_is_asked_less_and_less_often_while_it_is_away() -> None:
    bus = FakeBus()
    bus.away = True
    async with running(bus) as rooms:
        chats = [bus.new_chat().chat_id for _ in range(20)]
        began = asyncio.get_running_loop().time()
        for chat in chats:
            join(rooms, chat)
        await eventually(lambda: any(bus.asked_about(chat) >= 5 for chat in chats))
        # Four pauses lie between, from 0.1 s on doubled each time, and each drawn from its upper half.
        assert asyncio.get_running_loop().time() - began >= (0.1 + 0.2 + 0.4 + 0.8) / 2


async def test_versions_are_compared_and_only_what_moved_is_asked() -> None:
    bus = FakeBus()
    async with running(bus, check=0.1) as rooms:
        stores = [bus.new_chat() for _ in range(20)]
        clients = [join(rooms, store.chat_id)[0] for store in stores]
        await eventually(lambda: all(client.version == 1 for client in clients))
        stores[3].rename()
        gone = bus.chats.pop(stores[4].chat_id)
        await eventually(lambda: clients[3].version == 2)
        await eventually(lambda: clients[4].gone)
        compared = bus.compared
        await eventually(lambda: bus.compared > compared + 2)
    assert bus.asked[20:] == [(stores[3].chat_id, 1)]
    assert gone.chat_id not in bus.followed


async def test_a_reconnect_compares_at_once_and_asks_the_workers() -> None:
    bus = FakeBus()
    async with running(bus) as rooms:
        store, quiet = bus.new_chat(), bus.new_chat()
        store.submit()
        store.claim(announced=False)
        clients = [join(rooms, chat.chat_id)[0] for chat in (store, quiet)]
        await eventually(lambda: all(client.version > 0 for client in clients))
        store.say("text", 4)
        quiet.rename()
        rooms.reconnected()
        await eventually(lambda: clients[0].running is not None and clients[0].running.seq == 4)
        await eventually(lambda: clients[1].version == 2)


async def test_silence_of_a_running_answer_is_asked_about_ever_less() -> None:
    bus = FakeBus()
    async with running(bus, quiet=0.1) as rooms:
        store, idle = bus.new_chat(), bus.new_chat()
        store.submit()
        client, _ = join(rooms, store.chat_id)
        other, _ = join(rooms, idle.chat_id)
        await eventually(lambda: client.version > 0 and other.version > 0)
        store.claim(announced=False)
        store.say("text", 2)
        await eventually(lambda: client.running is not None and client.running.seq == 2)
        asked, since = bus.asked_about(store.chat_id), asyncio.get_running_loop().time()
        await eventually(lambda: bus.asked_about(store.chat_id) >= asked + 4)
        # Silence doubles from 0.1 s to three times that: four questions take no less than the last three of its pauses.
        assert asyncio.get_running_loop().time() - since > 0.2 + 0.3 + 0.3 - 3 * 0.02
    assert bus.asked_about(idle.chat_id) == 1


async def test_what_does_not_decode_is_made_up_for(caplog: pytest.LogCaptureFixture) -> None:
    bus = FakeBus()
    async with running(bus) as rooms:
        store = bus.new_chat()
        client, _ = join(rooms, store.chat_id)
        await eventually(lambda: client.version == 1)
        store.rename()
        bus.followed[store.chat_id](subjects.live_changed(store.chat_id).encode(), b"{broken", None)
        await eventually(lambda: client.version == 2)
        bus.followed[store.chat_id](f"live.{store.chat_id}.future".encode(), b"?", None)
    assert "does not decode" in caplog.text


async def test_deltas_of_one_read_are_written_once() -> None:
    bus = FakeBus()
    async with running(bus) as rooms:
        store = bus.new_chat()
        store.submit()
        client, _ = join(rooms, store.chat_id)
        await eventually(lambda: client.version > 0)
        _, started = store.claim(announced=False)
        handler = bus.followed[store.chat_id]
        handler(subjects.live_generation(store.chat_id).encode(), msgspec.json.encode(started), None)
        before = len(client.frames)
        for _ in range(50):
            handler(subjects.live_delta(store.chat_id).encode(), msgspec.json.encode(store.say("text", 1)), None)
        await eventually(lambda: client.running is not None and client.running.seq == 50)
        assert len(client.frames) == before + 1


async def test_a_quiet_room_forgets_its_page_and_asks_for_it_again() -> None:
    bus = FakeBus()
    async with running(bus, check=0.05) as rooms:
        chat = bus.new_chat().chat_id
        client, _ = join(rooms, chat)
        await eventually(lambda: client.version == 1)
        compared = bus.compared
        await eventually(lambda: bus.compared > compared + 3)
        assert len(bus.asked) == 1
        again, _ = join(rooms, chat)
        await eventually(lambda: again.version == 1)
        assert len(bus.asked) == 2


async def test_the_delay_of_a_delta_that_says_when_it_was_read_is_measured_when_somebody_reads() -> None:
    bus = FakeBus()
    store = bus.new_chat()

    def measured() -> tuple[float, float]:
        (family,) = ADDED_DELAY.collect()
        values = {sample.name: sample.value for sample in family.samples}
        return values["parley_push_added_delay_seconds_count"], values["parley_push_added_delay_seconds_sum"]

    before = measured()
    async with running(bus) as rooms:
        client, reader = join(rooms, store.chat_id)
        await eventually(lambda: client.version == 1)
        take = bus.followed[store.chat_id]
        body = msgspec.json.encode(store.submit())
        take(subjects.live_changed(store.chat_id).encode(), body, None)
        rename = msgspec.json.encode(store.rename())
        take(subjects.live_changed(store.chat_id).encode(), rename, DeltaHeaders(read_at=time.time() - 0.25))
        count, seconds = measured()
        assert count - before[0] == 1
        assert 0.25 <= seconds - before[1] < 5
        rooms.room(store.chat_id).readers.leave(reader)
        take(subjects.live_changed(store.chat_id).encode(), rename, DeltaHeaders(read_at=time.time()))
    assert measured()[0] == count
