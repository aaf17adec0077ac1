"""A websocket client that reads by the book (``tests.unit.push.world.Client``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from parley.contracts.frames import (
    ChatFrame,
    Cursor,
    Delta,
    Error,
    Generation,
    MessageFrame,
    Presence,
    Ready,
    ServerFrame,
    Snapshot,
    Watch,
)
from parley.runtime.tokens import KeyRing
from tests.support.waiting import eventually
from tests.unit.push.world import Client

SECRET_KEY = "a key for tests that is long enough"
KEYS = KeyRing([SECRET_KEY])
DEADLINE = 20.0

F = TypeVar("F")

_server_frame = msgspec.json.Decoder(ServerFrame)


def ticket(user_id: str = "ann", ttl: float = 60.0, **issued_for: Any) -> str:
    """A ticket; ``issued_for``: ``session_id``, ``key_id``, ``ends_at``."""
    return KEYS.issue("ticket", user_id, ttl, **issued_for)[0]


def is_closed_with(closed: ConnectionClosed) -> int | None:
    return closed.rcvd.code if closed.rcvd is not None else None


class WebReader:
    """A socket, and a :class:`Client` for each chat that it watches.

    Attributes:
        frames: All frames, in order.
    """

    def __init__(self, socket: ClientConnection, clients: dict[str, Client] | None = None) -> None:
        self.socket = socket
        self.clients = clients if clients is not None else {}
        self.frames: list[ServerFrame] = []
        self.closed: int | None = None
        self._pump: asyncio.Task[None] | None = None
        self._reading = asyncio.Event()
        self._reading.set()

    async def authenticate(self, user_id: str = "ann", *, chats: bool = False, **issued_for: Any) -> None:
        await self.send(type="auth", ticket=ticket(user_id, **issued_for), chats=chats)
        assert isinstance(_server_frame.decode(await asyncio.wait_for(self.socket.recv(), DEADLINE)), Ready)

    def start(self) -> None:
        self._pump = asyncio.create_task(self._read())

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def watch(self, chat_id: str, *, resume: bool = True) -> Client:
        """Watch with the cursor of the client that is there."""
        client = self.clients.setdefault(chat_id, Client())
        await self.socket.send(
            msgspec.json.encode(Watch(chat_id=chat_id, after=client.cursor if resume else None)).decode()
        )
        return client

    async def follow(self, chat_id: str) -> Client:
        """Watch, and wait for the snapshot."""
        client = await self.watch(chat_id)
        seen = len(client.frames)
        await eventually(lambda: len(client.frames) > seen, deadline=DEADLINE, what="the snapshot")
        return client

    def stop_reading(self) -> None:
        self._reading.clear()

    def go_on_reading(self) -> None:
        self._reading.set()

    async def wait_closed(self) -> int | None:
        """Return the code that the socket was closed with."""
        assert self._pump is not None
        await asyncio.wait_for(asyncio.shield(self._pump), DEADLINE)
        return self.closed

    async def _read(self) -> None:
        try:
            while True:
                await self._reading.wait()
                self._take(_server_frame.decode(await self.socket.recv()))
        except ConnectionClosed as closed:
            self.closed = is_closed_with(closed)

    def _take(self, frame: ServerFrame) -> None:
        self.frames.append(frame)
        match frame:
            case Snapshot() | MessageFrame() | Generation() | Delta() | ChatFrame() | Error():
                client = self.clients.get(frame.chat_id or "")
                if client is not None:
                    client.frames.append(frame)
                    client.take(frame)
            case Presence():
                if (client := self.clients.get(frame.chat_id)) is not None:
                    client.take(frame)
            case Ready():
                raise AssertionError("ready twice")

    async def close(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        self.socket.transport.abort()


@asynccontextmanager
async def reading(
    url: str,
    user_id: str = "ann",
    clients: dict[str, Client] | None = None,
    *,
    chats: bool = False,
    issued_for: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[WebReader]:
    """An authenticated reader; its end is abrupt, as a network's is. ``issued_for``: what its ticket names."""
    options.setdefault("max_size", None)
    async with asyncio.timeout(DEADLINE):
        socket = await connect(url, compression=None, proxy=None, ping_interval=None, **options)
    reader = WebReader(socket, clients)
    try:
        await reader.authenticate(user_id, chats=chats, **(issued_for or {}))
        reader.start()
        yield reader
    finally:
        await reader.close()


def cursor_of(client: Client) -> Cursor | None:
    return client.cursor
