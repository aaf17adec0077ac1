"""Who else has a shared chat open, over three push processes."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from nats.aio.msg import Msg

from parley.contracts import subjects
from parley.runtime.nats.client import ReconnectingClient
from parley.runtime.nats.connect import wait_until_processed
from push.rooms.presence import PUBLISH_INTERVAL
from tests.integration.push.backend import Backend
from tests.integration.push.conftest import Describe, url_of
from tests.integration.push.event_reader import streaming
from tests.integration.push.reader import DEADLINE, WebReader, reading
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually
from tests.unit.push.world import Client


async def show(clients: list[Client], **users: str) -> None:
    """Wait until all clients were sent just these users."""
    await eventually(
        lambda: [client.present for client in clients] == [users] * len(clients), deadline=DEADLINE, what=str(users)
    )


async def test_members_see_who_reads_and_who_writes_on_every_process(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann", "ben", "eve")
    async with AsyncExitStack() as stack:
        pushes = [await stack.enter_async_context(describe()) for _ in range(3)]
        ann = await stack.enter_async_context(reading(url_of(pushes[0]), "ann"))
        clients = [await ann.follow(chat)]
        await show(clients, ann="reading")
        ben = await stack.enter_async_context(reading(url_of(pushes[1]), "ben"))
        clients.append(await ben.follow(chat))
        await show(clients, ann="reading", ben="reading")
        async with streaming(pushes[2], chat, "eve") as eve:
            await eve.snapshot()
            await show([*clients, eve.client], ann="reading", ben="reading", eve="reading")
            await ben.send(type="typing", chat_id=chat)
            await show([*clients, eve.client], ann="reading", ben="writing", eve="reading")
            # Nothing is sent again, so it ends by itself.
            await show([*clients, eve.client], ann="reading", ben="reading", eve="reading")
        await show(clients, ann="reading", ben="reading")
        await backend.publish(backend.chats[chat].remove("ben"))
        await show(clients[:1], ann="reading")
        await backend.answer(chat, 3)
        await eventually(lambda: clients[0].version == backend.chats[chat].version)


async def test_who_may_only_read_or_does_not_watch_writes_nothing(
    backend: Backend, push: ServiceProcess, url: str
) -> None:
    chat = backend.new_chat("ann", "ben")
    backend.chats[chat].roles["ben"] = "reader"
    async with reading(url, "ann") as ann, reading(url, "ben") as ben, reading(url, "ann") as elsewhere:
        clients = [await ann.follow(chat), await ben.follow(chat)]
        await show(clients, ann="reading", ben="reading")
        await ben.send(type="typing", chat_id=chat)
        await elsewhere.send(type="typing", chat_id=chat)
        # Both arrived before this one, in the order of their sockets.
        await _settle(ben)
        await _settle(elsewhere)
        await ann.send(type="typing", chat_id=chat)
        await show(clients, ann="writing", ben="reading")


async def test_a_reader_who_becomes_a_writer_is_shown_writing_at_once(
    backend: Backend, push: ServiceProcess, url: str
) -> None:
    chat = backend.new_chat("ann", "ben")
    backend.chats[chat].roles["ben"] = "reader"
    async with reading(url, "ann") as ann, reading(url, "ben") as ben:
        clients = [await ann.follow(chat), await ben.follow(chat)]
        await show(clients, ann="reading", ben="reading")
        synced = backend.asked["sync"]
        await backend.publish(backend.chats[chat].set_role("ben", "writer"))
        await eventually(lambda: clients[1].version == backend.chats[chat].version)

        async def shown_writing() -> bool:
            # A client repeats it; more often than once a second is ignored.
            await ben.send(type="typing", chat_id=chat)
            return [(client.present or {}).get("ben") for client in clients] == ["writing"] * 2

        await eventually(shown_writing, deadline=DEADLINE, every=0.3)
        assert backend.asked["sync"] == synced, "the change itself has the role"


async def test_a_chat_with_one_member_and_a_busy_one_cost_the_bus_little(
    backend: Backend, push: ServiceProcess, url: str, module_nats_url: str
) -> None:
    published: list[Msg] = []

    async def note(message: Msg) -> None:
        published.append(message)

    bus = ReconnectingClient()
    await bus.connect(module_nats_url)
    own, shared = backend.new_chat("ann"), backend.new_chat("ann", "ben")
    for chat in (own, shared):
        await bus.subscribe(subjects.live_presence(chat), cb=note)
    await wait_until_processed(bus)
    began = time.monotonic()
    async with asyncio.timeout(DEADLINE), reading(url, "ann") as ann, reading(url, "ben") as ben:
        alone, client = await ann.follow(own), await ann.follow(shared)
        for _ in range(20):
            await ben.follow(shared)
            await ben.send(type="typing", chat_id=shared)
            await ben.send(type="unwatch", chat_id=shared)
        await ben.follow(shared)
        await show([client], ann="reading", ben="reading")
        assert alone.present is None
    assert {message.subject for message in published} == {subjects.live_presence(shared)}
    assert len(published) <= (time.monotonic() - began) / PUBLISH_INTERVAL + 2
    await bus.close()


async def _settle(reader: WebReader) -> None:
    """Return once push has handled what the reader sent."""
    await reader.socket.send('{"type": "watch", "chat_id": "nothing"}')
    count = len(reader.frames)
    await eventually(lambda: len(reader.frames) > count, deadline=DEADLINE)
