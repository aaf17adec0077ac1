"""The bridge by itself, where time matters."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway.errors import Unavailable
from gateway.http import event_stream as module
from gateway.http.event_stream import Bridge, Bridges
from parley.contracts import frames
from parley.contracts.ids import new_id
from parley_cli.embedded.ports import free_port
from tests.integration.gateway.fake_push import FakePush
from tests.integration.gateway.test_stream import snapshot

KEY = "k" * 40
CHAT = "0199f3a2-7c1e-7d3a-9b64-00000000000c"


@pytest.fixture
async def push() -> AsyncIterator[FakePush]:
    async with FakePush(KEY, free_port()) as push:
        yield push


async def opened(push: FakePush, *, seconds: float = 60.0) -> tuple[Bridges, Bridge]:
    bridges = Bridges(push.url, KEY)
    bridge = await bridges.open(user_id=new_id(), chat_id=CHAT, after=None, expires=time.time() + seconds)
    return bridges, bridge


async def test_silence_is_filled_with_comments(push: FakePush, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.05)
    _, bridge = await opened(push)
    events = bridge.events()
    assert b"retry: " in await anext(events)
    for _ in range(3):
        assert await anext(events) == b": still here\n\n"
    await bridge.close()


async def test_a_push_that_stays_away_ends_the_stream(push: FakePush, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RECONNECT_SECONDS", 0.3)
    _, bridge = await opened(push)
    await push.reader()
    await push.stop()
    async with asyncio.timeout(10):
        assert [event async for event in bridge.events()][-1] == b": connect again\n\n"
    await bridge.close()


async def test_it_ends_with_the_session(push: FakePush, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.05)
    _, bridge = await opened(push, seconds=0.2)
    async with asyncio.timeout(10):
        assert [event async for event in bridge.events()][-1] == b": connect again\n\n"
    await bridge.close()


async def test_stopping_ends_streams_that_are_looking_for_push(push: FakePush) -> None:
    bridges, bridge = await opened(push)
    await push.reader()
    await push.stop()
    events = bridge.events()
    await anext(events)
    ending = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    bridges.close()
    async with asyncio.timeout(5):
        assert await ending == b": connect again\n\n"
    await bridge.close()


async def test_nobody_is_let_in_any_more_while_stopping(push: FakePush) -> None:
    bridges, bridge = await opened(push)
    bridges.close()
    with pytest.raises(Unavailable):
        await bridges.open(user_id=new_id(), chat_id=CHAT, after=None, expires=time.time() + 60)
    await bridge.close()


async def test_a_snapshot_that_does_not_fit_is_asked_for_again_whole(push: FakePush) -> None:
    bridges = Bridges(push.url, KEY)
    after = frames.Cursor(version=1, generation_id=new_id(), attempt=1, seq=5)
    bridge = await bridges.open(user_id=new_id(), chat_id=CHAT, after=after, expires=time.time() + 60)
    reader = await push.reader()
    assert (await reader.watched()).after == after
    events = bridge.events()
    await anext(events)
    taking = asyncio.ensure_future(anext(events))
    await reader.send(snapshot(CHAT, seq=9, after=5))
    assert (await reader.watched()).after is None
    await reader.send(snapshot(CHAT, seq=9, text="whole"))
    assert b"whole" in await taking
    await bridge.close()
