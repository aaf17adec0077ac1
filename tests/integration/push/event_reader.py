"""A reader of server-sent events that reads by the book (``tests.unit.push.world.Client``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from parley.contracts.frames import (
    ChatFrame,
    Delta,
    Error,
    Generation,
    MessageFrame,
    Presence,
    ServerFrame,
    Snapshot,
)
from tests.integration.push.reader import DEADLINE, KEYS
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually
from tests.unit.push.world import Client

_server_frame = msgspec.json.Decoder(ServerFrame)


def access_token(user_id: str = "ann", ttl: float = 86_400.0, **issued_for: Any) -> str:
    """An access token; ``issued_for``: ``session_id``, ``key_id``, ``ends_at``."""
    return KEYS.issue("access", user_id, ttl, **issued_for)[0]


def stream_url(push: ServiceProcess, chat_id: str) -> str:
    return f"http://127.0.0.1:{push.environment['PORT']}/v1/chats/{chat_id}/stream"


class EventReader:
    """An open stream.

    Attributes:
        client: What it has put together.
        last_event_id: Of the last whole event.
        comments: All comments, in order.
        complete: The response ended as HTTP says, not by a broken connection.
    """

    def __init__(self, response: httpx.Response, client: Client) -> None:
        self.response = response
        self.client = client
        self.last_event_id = ""
        self.ids: list[str | None] = []
        self.comments: list[str] = []
        self.complete = False
        self.ended = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()

    def stop_reading(self) -> None:
        self._reading.clear()

    def go_on_reading(self) -> None:
        self._reading.set()

    async def read(self) -> None:
        rest = b""
        try:
            async for chunk in self.response.aiter_raw():
                *blocks, rest = (rest + chunk).split(b"\n\n")
                for block in blocks:
                    self._take(block)
                await self._reading.wait()
            self.complete = True
        except httpx.TransportError:
            pass
        finally:
            self.ended.set()

    def _take(self, block: bytes) -> None:
        event_id, data = None, None
        for line in block.split(b"\n"):
            name, _, value = line.partition(b": ")
            match name:
                case b"id":
                    event_id = value.decode()
                case b"data":
                    data = value
                case b"":
                    self.comments.append(value.decode())
                case _:
                    assert name == b"retry"
        if data is None:
            return
        self.ids.append(event_id)
        if event_id is not None:
            self.last_event_id = event_id
        frame = _server_frame.decode(data)
        assert isinstance(frame, Snapshot | MessageFrame | Generation | Delta | ChatFrame | Presence | Error)
        if not isinstance(frame, Presence):
            self.client.frames.append(frame)
        self.client.take(frame)

    async def snapshot(self) -> None:
        await eventually(lambda: self.client.frames, deadline=DEADLINE, what="the snapshot")

    async def wait_ended(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.ended.wait()


@asynccontextmanager
async def streaming(
    push: ServiceProcess, chat_id: str, user_id: str = "ann", client: Client | None = None, **headers: str
) -> AsyncIterator[EventReader]:
    """An accepted stream; its end is abrupt, as a network's is. ``headers``: with ``_`` for ``-``."""
    sent = {"authorization": f"Bearer {access_token(user_id)}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items() if value}
    async with (
        httpx.AsyncClient(timeout=DEADLINE, trust_env=False) as http,
        http.stream("GET", stream_url(push, chat_id), headers=sent) as response,
    ):
        assert response.status_code == 200, await response.aread()
        reader = EventReader(response, client or Client())
        reading = asyncio.create_task(reader.read())
        try:
            yield reader
        finally:
            reading.cancel()
            await asyncio.wait({reading})


async def refused(push: ServiceProcess, chat_id: str, *, method: str = "GET", **options: Any) -> httpx.Response:
    """Return the whole response to a request for a stream."""
    options.setdefault("headers", {"authorization": f"Bearer {access_token()}"})
    async with httpx.AsyncClient(timeout=DEADLINE, trust_env=False) as http:
        return await http.request(method, stream_url(push, chat_id), **options)
