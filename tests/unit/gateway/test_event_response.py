"""A response of events: one at a time, comments in silences, and the end of a client who disconnects."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from gateway.errors import GatewayError, NotFound
from gateway.http import event_response as module
from gateway.http.event_response import EventResponse
from tests.support.waiting import eventually

SCOPE: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": []}


class Client:
    """The other end: what it was sent, and whether it is there."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self.stopped = False

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def abandoned(self) -> None:
        self.stopped = True

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    def response(self, events: AsyncGenerator[bytes, None]) -> EventResponse:
        return EventResponse(events, error_event=_encoded, abandoned=self.abandoned)


def _encoded(error: GatewayError) -> bytes:
    return b"error " + error.code.encode()


async def _events(*items: bytes | GatewayError | asyncio.Event) -> AsyncGenerator[bytes, None]:
    for item in items:
        match item:
            case bytes():
                yield item
            case asyncio.Event():
                await item.wait()
            case _:
                raise item


async def test_the_preface_is_sent_when_the_response_starts() -> None:
    client, late = Client(), asyncio.Event()
    response = EventResponse(_events(late, b"a"), error_event=_encoded, preface=lambda: b"begin ")
    await response.wait_for_first(Request(SCOPE, client.receive), 0.01)
    writing = asyncio.create_task(response(SCOPE, client.receive, client.send))
    await eventually(lambda: client.body == b"begin ", deadline=5)
    late.set()
    await writing
    assert client.body == b"begin a"


async def test_events_are_sent_and_the_response_ends() -> None:
    client = Client()
    response = client.response(_events(b"a", b"", b"b"))
    await response.wait_for_first(Request(SCOPE, client.receive), 5)
    await response(SCOPE, client.receive, client.send)
    assert client.body == b"ab"
    assert client.sent[-1]["more_body"] is False
    assert not client.stopped


async def test_an_error_before_the_first_event_is_raised_and_a_later_one_is_an_event() -> None:
    client = Client()
    with pytest.raises(NotFound):
        await client.response(_events(NotFound("none"))).wait_for_first(Request(SCOPE, client.receive), 5)
    response = client.response(_events(b"a", NotFound("gone")))
    await response(SCOPE, client.receive, client.send)
    assert client.body == b"aerror not_found"


async def test_a_first_event_that_is_late_begins_the_response_without_it() -> None:
    client, late = Client(), asyncio.Event()
    response = client.response(_events(late, b"a"))
    await response.wait_for_first(Request(SCOPE, client.receive), 0.01)
    late.set()
    await response(SCOPE, client.receive, client.send)
    assert client.body == b"a"


async def test_who_disconnects_before_or_after_the_first_event_abandons_the_answer() -> None:
    for before in (True, False):
        client, never = Client(), asyncio.Event()
        client.left.set()
        response = client.response(_events(never))
        if before:
            with pytest.raises(ClientDisconnect):
                await response.wait_for_first(Request(SCOPE, client.receive), 5)
        else:
            await response(SCOPE, client.receive, client.send)
        assert client.stopped


async def test_a_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENCE_SECONDS", 0.01)
    client, quiet = Client(), asyncio.Event()
    responding = asyncio.create_task(client.response(_events(b"a", quiet, b"b"))(SCOPE, client.receive, client.send))
    await eventually(lambda: client.body.count(b": still here\n\n") >= 2)
    quiet.set()
    await responding
    assert client.body.replace(b": still here\n\n", b"") == b"ab"
