"""A session, API key or user that ends closes its sockets and streams, on every push process."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from parley.contracts.access.identity import Revoked
from parley.contracts.frames import Error
from parley.contracts.ids import new_id
from parley_cli.embedded.nats import NatsServer
from tests.integration.push.backend import Backend, backend_on
from tests.integration.push.conftest import Describe, describe_on, url_of
from tests.integration.push.event_reader import EventReader, access_token, streaming
from tests.integration.push.reader import DEADLINE, WebReader, reading
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually

SESSION_ENDED = 4410


class Connections:
    """A socket and a stream at each of several push processes, opened with one session or API key."""

    def __init__(self) -> None:
        self.sockets: list[WebReader] = []
        self.streams: list[EventReader] = []

    @classmethod
    async def open(
        cls, stack: AsyncExitStack, pushes: list[ServiceProcess], chat: str, user: str, **issued_for: Any
    ) -> Connections:
        opened = cls()
        for push in pushes:
            socket = await stack.enter_async_context(reading(url_of(push), user, issued_for=issued_for))
            await socket.follow(chat)
            token = access_token(user, **issued_for)
            stream = await stack.enter_async_context(streaming(push, chat, authorization=f"Bearer {token}"))
            await stream.snapshot()
            opened.sockets.append(socket)
            opened.streams.append(stream)
        return opened

    async def wait_ended(self) -> None:
        async with asyncio.timeout(DEADLINE):
            for socket in self.sockets:
                assert await socket.wait_closed() == SESSION_ENDED
            for stream in self.streams:
                await stream.ended.wait()
                assert stream.complete
                ended = stream.client.frames[-1]
                assert isinstance(ended, Error)
                assert ended.code == "session_ended"

    @property
    def are_open(self) -> bool:
        return all(socket.closed is None for socket in self.sockets) and not any(
            stream.ended.is_set() for stream in self.streams
        )


@pytest.mark.parametrize("what", ["session", "key", "user"])
async def test_a_revocation_closes_sockets_and_streams_on_every_process(
    backend: Backend, describe: Describe, what: str
) -> None:
    chat = backend.new_chat("ann", "ben")
    session_id, key_id = new_id(), new_id()
    revoked = {
        "session": Revoked(user_id="ann", session_id=session_id),
        "key": Revoked(user_id="ann", key_id=key_id),
        "user": Revoked(user_id="ann", disabled=True),
    }[what]
    async with AsyncExitStack() as stack:
        pushes = [await stack.enter_async_context(describe()) for _ in range(3)]
        by_session = await Connections.open(stack, pushes, chat, "ann", session_id=session_id)
        by_key = await Connections.open(stack, pushes, chat, "ann", key_id=key_id)
        others = await Connections.open(stack, pushes, chat, "ben", session_id=new_id())
        await backend.revoke(revoked)
        if what != "key":
            await by_session.wait_ended()
        if what != "session":
            await by_key.wait_ended()
        await backend.answer(chat, 2)
        version = backend.chats[chat].version
        await eventually(lambda: all(socket.clients[chat].version == version for socket in others.sockets))
        assert others.are_open
        assert by_key.are_open == (what == "session")
        assert by_session.are_open == (what == "key")


async def test_a_ticket_from_before_the_revocation_opens_a_socket_for_seconds_only(
    backend: Backend, push: ServiceProcess
) -> None:
    session_id = new_id()
    chat = backend.new_chat("ann")
    await backend.revoke(Revoked(user_id="ann", session_id=session_id))
    async with reading(url_of(push), issued_for={"session_id": session_id}) as late:
        assert await late.wait_closed() == SESSION_ENDED
    token = access_token(session_id=session_id)
    async with streaming(push, chat, authorization=f"Bearer {token}") as stream:
        await stream.wait_ended()
        assert stream.complete


async def test_a_revocation_that_is_lost_is_found_after_the_reconnect(
    nats_server: NatsServer,
) -> None:
    session_id = new_id()
    async with (
        backend_on(nats_server.url) as backend,
        describe_on(nats_server.url)() as push,
        reading(url_of(push), issued_for={"session_id": session_id}) as reader,
        # A user whom a proxy names has no session.
        reading(url_of(push), "named") as named,
        reading(url_of(push), "other") as other,
    ):
        await eventually(lambda: backend.asked["find_revoked"] > 0, deadline=DEADLINE)
        nats_server.kill()
        backend.revoked |= {session_id, "named"}  # the events reach nobody
        nats_server.start()
        assert await reader.wait_closed() == SESSION_ENDED
        assert await named.wait_closed() == SESSION_ENDED
        assert other.closed is None


async def test_a_socket_ends_at_its_session_s_end_unless_that_was_extended(backend: Backend, url: str) -> None:
    ends_at = datetime.now(UTC) + timedelta(seconds=6)
    ended, extended = new_id(), new_id()
    async with (
        reading(url, issued_for={"session_id": ended, "ends_at": ends_at}) as one,
        reading(url, issued_for={"session_id": extended, "ends_at": ends_at}) as other,
        reading(url, issued_for={"ends_at": ends_at}) as without,
    ):
        await eventually(lambda: backend.asked["find_revoked"] > 0, deadline=DEADLINE)
        backend.revoked.add(ended)
        for reader in (one, without):
            assert await reader.wait_closed() == SESSION_ENDED
        assert other.closed is None


async def test_while_chat_store_is_away_sockets_stay_open(backend: Backend, url: str) -> None:
    backend.store.silent = True
    async with reading(url, issued_for={"session_id": new_id()}) as reader:
        await eventually(lambda: backend.asked["find_revoked"] > 0, deadline=DEADLINE)
        assert reader.closed is None


async def test_a_stream_that_its_client_leaves_while_its_session_is_checked_harms_no_other(
    backend: Backend, push: ServiceProcess
) -> None:
    chat, session_id = backend.new_chat("ann", "ben"), new_id()
    checking, left = asyncio.Event(), asyncio.Event()
    async with reading(url_of(push), "ben") as other, asyncio.timeout(DEADLINE):
        await other.follow(chat)
        await eventually(lambda: backend.asked["find_revoked"] > 0, deadline=DEADLINE)
        before = backend.asked["find_revoked"]

        async def hold_the_check() -> None:
            if backend.asked["find_revoked"] > before:
                checking.set()
                await left.wait()

        backend.store.before_reply = hold_the_check
        backend.revoked.add(session_id)  # the event is lost
        token = access_token(session_id=session_id)
        async with streaming(push, chat, authorization=f"Bearer {token}") as stream:
            await stream.snapshot()
            await checking.wait()
        await eventually(lambda: f"{chat}/stream 200" in push.log, deadline=DEADLINE)
        left.set()
        await backend.answer(chat, 2)
        version = backend.chats[chat].version
        await eventually(lambda: other.clients[chat].version == version or other.closed is not None)
        assert other.closed is None
