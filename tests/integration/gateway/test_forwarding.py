"""A forwarded stream by itself, where time matters."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from gateway.errors import NotAuthenticated, Unavailable
from gateway.http import event_stream as module
from gateway.http.event_stream import EventStreams, StreamRequest
from parley.contracts import frames
from parley.contracts.access.identity import Principal
from parley.contracts.ids import new_id
from parley.runtime.tokens import KeyRing
from parley_cli.embedded.ports import free_port
from tests.integration.gateway.fake_push import FakePush
from tests.support.users import guest

KEY = "k" * 40
CHAT = "0199f3a2-7c1e-7d3a-9b64-00000000000c"


@pytest.fixture
async def push() -> AsyncIterator[FakePush]:
    async with FakePush(KEY, free_port()) as push:
        yield push


def request() -> StreamRequest:
    return StreamRequest(chat_id=CHAT, principal=Principal(user=guest(new_id()), session_id=new_id()))


@pytest.fixture
async def streams(push: FakePush) -> AsyncIterator[EventStreams]:
    streams = EventStreams(push.url, KeyRing([KEY]))
    yield streams
    await streams.disconnect()


async def test_a_push_that_stays_away_ends_the_stream(
    push: FakePush, streams: EventStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RECONNECT_SECONDS", 0.3)
    stream = await streams.open(request(), None)
    await push.reader()
    await push.stop()
    async with asyncio.timeout(10):
        assert [event async for event in stream.events()][-1] == b": connect again\n\n"
    await stream.close()


async def test_it_ends_with_the_session_that_push_ends(push: FakePush, streams: EventStreams) -> None:
    stream = await streams.open(request(), None)
    reader = await push.reader()
    ended = frames.Error(code="session_ended", message="The session has ended.", chat_id=CHAT)
    await reader.send(ended)
    await reader.end()
    async with asyncio.timeout(10):
        assert b"".join([event async for event in stream.events()]).endswith(
            b"data: %b\n\n" % msgspec.json.encode(ended)
        )
    await stream.close()


async def test_a_session_that_has_ended_when_push_is_looked_for_ends_the_stream(
    push: FakePush, streams: EventStreams
) -> None:
    stream = await streams.open(request(), None)
    reader = await push.reader()
    push.refuse_with = (401, "session_ended")
    await reader.drain()
    async with asyncio.timeout(10):
        last = [event async for event in stream.events()][-1]
    assert b'"code":"session_ended"' in last
    await stream.close()


async def test_a_session_that_has_ended_is_refused(push: FakePush, streams: EventStreams) -> None:
    push.refuse_with = (401, "session_ended")
    with pytest.raises(NotAuthenticated) as refused:
        await streams.open(request(), None)
    assert refused.value.code == "session_ended"


async def test_push_learns_which_session_reads(push: FakePush, streams: EventStreams) -> None:
    asked = request()
    stream = await streams.open(asked, None)
    reader = await push.reader()
    claims = KeyRing([KEY]).verify("access", reader.headers["authorization"].removeprefix("Bearer "))
    assert (claims.user_id, claims.session_id) == (asked.principal.user.id, asked.principal.session_id)
    await stream.close()


async def test_stopping_ends_streams_that_are_looking_for_push(push: FakePush, streams: EventStreams) -> None:
    stream = await streams.open(request(), None)
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


async def test_new_streams_are_refused_while_stopping(push: FakePush, streams: EventStreams) -> None:
    stream = await streams.open(request(), None)
    streams.close()
    with pytest.raises(Unavailable):
        await streams.open(request(), None)
    await stream.close()
