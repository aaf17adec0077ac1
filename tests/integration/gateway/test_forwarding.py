"""A forwarded stream by itself, where time matters."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway.errors import Unavailable
from gateway.http import event_stream as module
from gateway.http.event_stream import EventStream, EventStreams
from parley.contracts.ids import new_id
from parley.runtime.tokens import KeyRing
from parley_cli.embedded.ports import free_port
from tests.integration.gateway.fake_push import FakePush

KEY = "k" * 40
CHAT = "0199f3a2-7c1e-7d3a-9b64-00000000000c"


@pytest.fixture
async def push() -> AsyncIterator[FakePush]:
    async with FakePush(KEY, free_port()) as push:
        yield push


async def opened(push: FakePush, *, seconds: float = 60.0) -> tuple[EventStreams, EventStream]:
    streams = EventStreams(push.url, KeyRing([KEY]))
    return streams, await streams.open(
        user_id=new_id(), chat_id=CHAT, after=None, expires=time.time() + seconds, headers={}
    )


async def test_a_push_that_stays_away_ends_the_stream(push: FakePush, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RECONNECT_SECONDS", 0.3)
    _, stream = await opened(push)
    await push.reader()
    await push.stop()
    async with asyncio.timeout(10):
        assert [event async for event in stream.events()][-1] == b": connect again\n\n"
    await stream.close()


async def test_it_ends_with_the_session(push: FakePush) -> None:
    _, stream = await opened(push, seconds=0.2)
    async with asyncio.timeout(10):
        assert [event async for event in stream.events()][-1] == b": connect again\n\n"
    await stream.close()


async def test_stopping_ends_streams_that_are_looking_for_push(push: FakePush) -> None:
    streams, stream = await opened(push)
    await push.reader()
    await push.stop()
    events = stream.events()
    await anext(events)
    ending = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    streams.close()
    async with asyncio.timeout(5):
        assert await ending == b": connect again\n\n"
    await stream.close()


async def test_new_streams_are_refused_while_stopping(push: FakePush) -> None:
    streams, stream = await opened(push)
    streams.close()
    with pytest.raises(Unavailable):
        await streams.open(user_id=new_id(), chat_id=CHAT, after=None, expires=time.time() + 60, headers={})
    await stream.close()
