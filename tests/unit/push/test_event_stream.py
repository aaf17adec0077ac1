"""A stream of events by itself, where time matters."""

from __future__ import annotations

import asyncio
import http
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from parley.contracts.frames import CloseCode
from parley.contracts.ids import new_id
from parley.runtime.tokens import KeyRing
from push.bus.request_limiter import RequestLimiter
from push.metrics import Counters
from push.rooms.chat_lists import ChatLists
from push.rooms.reader import Reader
from push.rooms.registry import Rooms
from push.rooms.room import Room
from push.settings import Settings
from push.transport import event_stream as module
from push.transport.connection import Connection
from push.transport.event_stream import EventStream
from push.transport.identities import Identities
from push.transport.server import Server
from push.transport.session import SessionContext
from push.transport.tickets import Tickets
from tests.support.chat_store.scripted_chat import ScriptedChat
from tests.support.waiting import eventually

KEY = "k" * 40


class Transport:
    """A transport that keeps what is written, until it is ``closed``; then it behaves as uvloop's."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False
        self.ended = False
        self.closed = False

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted or self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass


class Owner:
    def __init__(self) -> None:
        self.closed_connections: list[Connection] = []

    def refuse_connection(self, connection: Connection, forwarded_for: list[str]) -> tuple[http.HTTPStatus, str] | None:
        return None

    def closed(self, connection: Connection) -> None:
        self.closed_connections.append(connection)


class OneRoom:
    """Rooms whose only room knows its chat already."""

    def __init__(self, store: ScriptedChat) -> None:
        self._room = Room(store.chat_id, Counters())
        self._store = store

    def room(self, chat_id: str) -> Room:
        return self._room

    def join(self, room: Room, reader: Reader) -> None:
        room.readers.join(reader)
        while (request := room.next_request()) is not None:
            room.synced(cast(Any, request), self._store.sync(cast(Any, request).after))

    def leave(self, room: Room, reader: Reader) -> None:
        room.readers.leave(reader)

    def resume(self, room: Room, reader: Reader) -> None:
        room.readers.resume(reader)


def opened(*, ends_at: datetime | None = None) -> tuple[EventStream, Transport]:
    rooms = cast(Rooms, OneRoom(ScriptedChat()))
    settings = Settings.model_validate({"nats_url": "nats://127.0.0.1", "secret_key": KEY})
    identities = Identities(cast(RequestLimiter, None))
    context = SessionContext(rooms, cast(ChatLists, None), cast(Tickets, None), identities, settings)
    stream, transport = EventStream(cast(Server, Owner()), context, new_id()), Transport()
    stream.connection_made(cast(asyncio.Transport, transport))
    token = KeyRing([KEY]).issue("access", "ann", 60, ends_at=ends_at)[0]
    stream.data_received(f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    assert b'"type":"snapshot"' in transport.written
    return stream, transport


async def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    stream, transport = opened()
    await eventually(lambda: transport.written.count(b": still here\n\n") >= 3)
    stream.connection_lost(None)


async def test_a_paused_stream_gets_no_comments_and_is_dropped_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    monkeypatch.setattr(module, "_WRITE_TIMEOUT", 0.2)
    stream, transport = opened()
    stream.pause_writing()
    await eventually(lambda: transport.aborted)
    assert b": still here" not in transport.written
    stream.connection_lost(None)


async def test_a_stream_whose_reader_reads_again_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    stream, transport = opened()
    stream.pause_writing()
    stream.resume_writing()
    await eventually(lambda: b": still here" in transport.written)
    stream.connection_lost(None)


async def test_it_ends_with_the_session() -> None:
    _, transport = opened(ends_at=datetime.now(UTC) + timedelta(seconds=2))
    await eventually(lambda: transport.ended)
    assert b'"code":"session_ended"' in transport.written
    assert b": connect again\n\n" not in transport.written
    assert transport.written.endswith(b"0\r\n\r\n")


async def test_the_end_of_one_whose_client_has_left_writes_nothing() -> None:
    """A drain goes through all connections that there were when it began."""
    stream, transport = opened()
    transport.closed = True
    stream.connection_lost(None)
    stream.close(CloseCode.DRAINING)
    assert b": connect again" not in transport.written


async def test_a_peer_that_goes_on_sending_is_dropped() -> None:
    stream, transport = opened()
    stream.data_received(b"x" * 60_000)
    assert not transport.aborted
    stream.data_received(b"x" * 60_000)
    assert transport.aborted
