"""Server-sent events: the frames of push, with the cursor as event id, whatever happens in between."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import psutil
import pytest

from parley.contracts import frames
from parley.contracts.ids import new_id
from parley.contracts.resources import Chat, Message
from tests.integration.gateway.conftest import Running, User
from tests.integration.gateway.fake_push import FakePush, Reader
from tests.support.chat_store.fake import FakeStore
from tests.support.waiting import eventually

GENERATION = "0199f3a2-7c1e-7d3a-9b64-000000000001"
ANSWER = "0199f3a2-7c1e-7d3a-9b64-000000000002"


@dataclass(frozen=True)
class Event:
    id: str | None
    data: Any


class Events:
    """Reads server-sent events, as far as we use them (WHATWG HTML, 9.2)."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()
        self.comments: list[str] = []

    async def __aiter__(self) -> AsyncIterator[Event]:
        event_id, data = None, None
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments.append(line[2:])
            elif name == "id":
                event_id = value
            elif name == "data":
                data = value
            elif not line and data is not None:
                yield Event(event_id, msgspec.json.decode(data))
                event_id, data = None, None

    async def next(self) -> Event:
        async with asyncio.timeout(20):
            async for event in self:
                return event
        raise AssertionError("the stream ended")


@asynccontextmanager
async def follow(user: User, chat_id: str, **more: Any) -> AsyncIterator[Events]:
    async with user.http.stream("GET", f"/v1/chats/{chat_id}/stream", **more) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        yield Events(answer)


def chat_of(chat_id: str) -> Chat:
    now = datetime.now(UTC)
    return Chat(
        id=chat_id,
        owner_id=chat_id,
        title=None,
        model=None,
        system_prompt=None,
        tip_id=None,
        created_at=now,
        updated_at=now,
        version=1,
        running=True,
    )


def snapshot(
    chat_id: str, *, version: int = 1, seq: int | None = None, after: int = 0, text: str = ""
) -> frames.Snapshot:
    running = None
    if seq is not None:
        running = frames.RunningAnswer(
            generation_id=GENERATION,
            message_id=ANSWER,
            attempt=1,
            status="running",
            seq=seq,
            after=after,
            text=text,
            reasoning="",
        )
    return frames.Snapshot(
        chat_id=chat_id,
        version=version,
        recovered=after > 0,
        chat=chat_of(chat_id),
        messages=[],
        generation=running,
    )


def delta(chat_id: str, seq: int, text: str, *, last: int | None = None) -> frames.Delta:
    return frames.Delta(
        chat_id=chat_id, generation_id=GENERATION, attempt=1, from_=seq, to=last or seq, kind="text", text=text
    )


def finished(chat_id: str, text: str) -> frames.MessageFrame:
    message = Message(
        id=ANSWER,
        chat_id=chat_id,
        parent_id=None,
        role="assistant",
        author_id=None,
        content=text,
        reasoning="",
        status="complete",
        model=None,
        error=None,
        usage=None,
        created_at=datetime.now(UTC),
        version=2,
    )
    return frames.MessageFrame(chat_id=chat_id, version=2, message=message)


@pytest.fixture
async def chat_id(user: User, store: FakeStore) -> str:
    return await user.new_chat()


async def test_frames_come_as_events_whose_id_is_the_cursor(user: User, push: FakePush, chat_id: str) -> None:
    async with follow(user, chat_id) as events:
        reader = await push.reader()
        assert reader.user_id == user.id
        assert (reader.chat_id, reader.after) == (chat_id, None)
        sent: list[tuple[Any, Any]] = [
            (snapshot(chat_id, seq=2, text="Hä"), {"version": 1, "seq": 2}),
            (delta(chat_id, 3, "ll\no", last=5), {"version": 1, "seq": 5}),
            (finished(chat_id, "Häll\no"), {"version": 1}),
        ]
        for frame, cursor in sent:
            await reader.send(frame)
            event = await events.next()
            assert event.data == msgspec.to_builtins(frame)
            assert event.id is not None
            named = msgspec.json.decode(event.id)
            assert {name: named[name] for name in cursor} == cursor
            assert named["generation_id"] == (GENERATION if "seq" in cursor else None)
    await reader.closed.wait()


async def test_http_1_0_is_sent_the_events_unframed_and_at_once(user: User, push: FakePush, chat_id: str) -> None:
    """It knows no chunks: their sizes would stand between the events."""
    host, port = user.http.base_url.host, user.http.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    cookies = "; ".join(f"{name}={value}" for name, value in user.http.cookies.items())
    bearer = user.http.headers.get("authorization", "")
    writer.write(
        f"GET /v1/chats/{chat_id}/stream HTTP/1.0\r\nHost: {host}:{port}\r\nConnection: keep-alive\r\n"
        f"Cookie: {cookies}\r\nAuthorization: {bearer}\r\n\r\n".encode()
    )
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith(("http/1.1 200 ", "http/1.0 200 "))
        assert "transfer-encoding" not in head
        assert "content-length" not in head
        assert "connection: close" in head
        pushed = await push.reader()
        read = await reader.readuntil(b": connected\n\n")
        await pushed.send(snapshot(chat_id, seq=1, text="a"))
        # It is there while the stream goes on, and nothing but it.
        read += await reader.readuntil(b"\n\n")
    blocks = [block for block in read.decode().split("\n\n") if block]
    assert all(re.match(r"(retry|id|data|event|: ?)", line) for block in blocks for line in block.split("\n"))
    data = next(line for line in blocks[-1].split("\n") if line.startswith("data: "))
    assert msgspec.json.decode(data[6:])["type"] == "snapshot"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("where", ["header", "query"])
async def test_a_reader_that_comes_back_says_what_it_has(where: str, user: User, push: FakePush, chat_id: str) -> None:
    after = frames.Cursor(version=7, generation_id=GENERATION, attempt=2, seq=9)
    text = msgspec.json.encode(after).decode()
    more: dict[str, Any] = {"headers": {"last-event-id": text}} if where == "header" else {"params": {"after": text}}
    async with follow(user, chat_id, **more):
        assert (await push.reader()).after == after


@pytest.mark.parametrize("last_event_id", ["1795389024", "\xe4", "a&b=c d%20"])
async def test_a_last_event_id_is_passed_on_as_it_is(
    last_event_id: str, user: User, push: FakePush, chat_id: str
) -> None:
    headers = {b"last-event-id": last_event_id.encode("latin-1")}
    async with follow(user, chat_id, headers=headers):
        assert (await push.reader()).last_event_id == last_event_id


@pytest.mark.parametrize("after", ["\r\nx: y", "\x00", "x" * 2000])
async def test_an_event_id_of_anything_else_does_no_harm(after: str, user: User, push: FakePush, chat_id: str) -> None:
    async with follow(user, chat_id, params={"after": after}) as events:
        reader = await push.reader()
        assert "x" not in reader.headers
        await reader.send(snapshot(chat_id))
        await events.next()


async def test_a_push_that_drains_is_left_for_another_and_the_reader_notices_nothing(
    user: User, push: FakePush, chat_id: str
) -> None:
    async with follow(user, chat_id) as events:
        reader = await push.reader()
        await reader.send(snapshot(chat_id, seq=1, text="a"))
        await reader.send(delta(chat_id, 2, "b"))
        await events.next()
        await events.next()
        await reader.drain()
        reader = await push.reader()
        assert reader.after == frames.Cursor(version=1, generation_id=GENERATION, attempt=1, seq=2)
        await reader.send(snapshot(chat_id, seq=3, after=2, text="c"))
        assert (await events.next()).data["generation"]["text"] == "c"


async def test_a_push_that_is_away_for_a_while_is_waited_for(user: User, push: FakePush, chat_id: str) -> None:
    async with follow(user, chat_id) as events:
        reader = await push.reader()
        await reader.send(snapshot(chat_id))
        await events.next()
        await push.stop()
        await reader.closed.wait()
        await push.start()
        reader = await push.reader()
        assert reader.after == frames.Cursor(version=1)
        await reader.send(finished(chat_id, "was away"))
        assert (await events.next()).data["message"]["content"] == "was away"


class Room:
    """A running answer, sent to whoever reads as push would, on a connection that breaks."""

    def __init__(self, chat_id: str, pieces: list[str]) -> None:
        self._chat_id = chat_id
        self._pieces = pieces

    async def send(self, reader: Reader, deltas: int) -> bool:
        """Bring a reader up to date, then send so many deltas. True: the answer is complete."""
        seq = reader.after.seq if reader.after is not None else 0
        await reader.send(snapshot(self._chat_id, seq=seq, after=seq))
        for piece in self._pieces[seq : seq + deltas]:
            seq += 1
            await reader.send(delta(self._chat_id, seq, piece))
        if seq < len(self._pieces):
            return False
        await reader.send(finished(self._chat_id, "".join(self._pieces)))
        return True


async def assemble(events: Events) -> str:
    text, seq = "", 0
    async for event in events:
        frame = event.data
        if frame["type"] == "snapshot":
            assert frame["generation"]["after"] == seq
        elif frame["type"] == "delta":
            assert frame["from"] == seq + 1, "no delta is passed on twice, none is missing"
            seq = frame["to"]
            text += frame["text"]
        elif frame["type"] == "message":
            assert frame["message"]["content"] == text
            return text
    raise AssertionError("the stream ended early")


@pytest.mark.parametrize("how", ["drained", "cut", "within an event"])
async def test_losing_push_after_every_delta_loses_and_doubles_nothing(
    how: str, user: User, push: FakePush, chat_id: str
) -> None:
    pieces = [f"{number} – ü\n" for number in range(40)]
    room = Room(chat_id, pieces)
    async with follow(user, chat_id) as events:
        reading = asyncio.create_task(assemble(events))
        while True:
            reader = await push.reader()
            if await room.send(reader, 1):
                break
            if how == "drained":
                await reader.drain()
            else:
                if how == "within an event":
                    await reader.write(b'id: {"version":1}\ndata: {"type":"delta",')
                reader.cut()
        assert await reading == "".join(pieces)


async def test_cutting_the_readers_line_after_every_event_loses_and_doubles_nothing(
    user: User, push: FakePush, chat_id: str
) -> None:
    pieces = [f"{number} – ü\n" for number in range(25)]
    room = Room(chat_id, pieces)
    text, last_event_id, done = "", "", False
    while not done:
        async with follow(user, chat_id, headers={"last-event-id": last_event_id}) as events:
            reader = await push.reader()
            await room.send(reader, 3)
            async for event in events:
                assert event.id is not None
                last_event_id = event.id
                if event.data["type"] == "delta":
                    text += event.data["text"]
                    break
                if event.data["type"] == "message":
                    done = True
                    break
    assert text == "".join(pieces)


async def test_a_frame_of_a_later_version_is_passed_on(user: User, push: FakePush, chat_id: str) -> None:
    async with follow(user, chat_id) as events:
        await (await push.reader()).send({"type": "typing", "chat_id": chat_id})
        event = await events.next()
        assert (event.id, event.data) == (None, {"type": "typing", "chat_id": chat_id})


@pytest.mark.parametrize(
    "frame",
    [
        lambda chat_id: frames.ChatFrame(chat_id=chat_id, version=2, chat=None),
        lambda chat_id: frames.Error(code="not_found", message="There is no such chat.", chat_id=chat_id),
    ],
    ids=["deleted", "not found"],
)
async def test_it_ends_when_the_chat_does(frame: Any, user: User, push: FakePush, chat_id: str) -> None:
    async with follow(user, chat_id) as events:
        reader = await push.reader()
        await reader.send(snapshot(chat_id))
        await reader.send(frame(chat_id))
        await reader.end()
        received = [event.data async for event in events]
        assert received[-1] == msgspec.to_builtins(frame(chat_id))
    await reader.closed.wait()


async def test_when_the_reader_goes_the_stream_from_push_goes_too(user: User, push: FakePush, chat_id: str) -> None:
    async with follow(user, chat_id):
        reader = await push.reader()
    async with asyncio.timeout(10):
        await reader.closed.wait()


async def test_without_push_it_is_a_503_that_says_when_to_come_back(
    gateway: Running, user: User, store: FakeStore
) -> None:
    chat_id = await user.new_chat()
    answer = await user.http.get(f"/v1/chats/{chat_id}/stream")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ((404, "not_found"), 404, "not_found"),
        ((429, "too_many"), 429, "too_many"),
        ((401, "token_invalid"), 503, "unavailable"),
        ((503, "unavailable"), 503, "unavailable"),
    ],
)
async def test_what_push_refuses_is_a_problem(
    refusal: tuple[int, str], status: int, code: str, user: User, push: FakePush, chat_id: str
) -> None:
    push.refuse_with = refusal
    answer = await user.http.get(f"/v1/chats/{chat_id}/stream")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert status == 404 or int(answer.headers["retry-after"]) >= 1


async def test_a_push_that_refuses_after_the_one_before_went_away_is_reported_as_a_frame(
    user: User, push: FakePush, chat_id: str
) -> None:
    async with follow(user, chat_id) as events:
        reader = await push.reader()
        await reader.send(snapshot(chat_id))
        push.refuse_with = (404, "not_found")
        reader.cut()
        received = [event.data async for event in events]
    assert (received[-1]["type"], received[-1]["code"], received[-1]["chat_id"]) == ("error", "not_found", chat_id)


async def test_push_is_asked_as_the_user_for_the_user_s_address(user: User, push: FakePush, chat_id: str) -> None:
    async with follow(user, chat_id, headers={"x-request-id": "from-the-test"}):
        reader = await push.reader()
        assert reader.user_id == user.id
        assert reader.headers["x-request-id"] == "from-the-test"
        assert reader.headers["x-forwarded-for"] == "127.0.0.1"


async def test_a_reader_that_does_not_read_holds_back_push_and_nothing_grows(
    gateway: Running, user: User, push: FakePush, chat_id: str
) -> None:
    process = psutil.Process(gateway.process.pid)
    piece = "x" * 10_000
    pieces = 5_000
    async with follow(user, chat_id) as events:
        reader = await push.reader()
        await reader.send(snapshot(chat_id, seq=0))
        await events.next()
        before = process.memory_info().rss
        sent = 0

        async def send_all() -> None:
            nonlocal sent
            for seq in range(1, pieces + 1):
                await reader.send(delta(chat_id, seq, piece))
                sent = seq

        sending = asyncio.create_task(send_all())
        seen = -1
        while seen != sent:
            # Until nothing more goes through for a while.
            seen = sent
            await asyncio.wait({sending}, timeout=1.0)
        assert sent < pieces, "50 MB do not fit into buffers: push was held back"
        assert process.memory_info().rss - before < 20_000_000
        text = ""
        while len(text) < pieces * len(piece):
            text += (await events.next()).data["text"]
        await sending
        assert text == piece * pieces


async def test_another_stream_is_not_held_back_by_a_slow_one(user: User, push: FakePush, chat_id: str) -> None:
    other_id = new_id()
    await user.http.post("/v1/chats", json={"id": other_id})
    async with follow(user, chat_id), follow(user, other_id) as events:
        readers = {(reader := await push.reader()).chat_id: reader for _ in range(2)}
        slow = readers[chat_id]
        await slow.send(snapshot(chat_id, seq=0))

        async def send_all() -> None:
            for seq in range(1, 2_000):
                await slow.send(delta(chat_id, seq, "x" * 10_000))

        sending = asyncio.create_task(send_all())
        for seq in range(20):
            await readers[other_id].send(snapshot(other_id, version=seq))
            assert (await events.next()).data["version"] == seq
        sending.cancel()


async def test_many_streams_come_and_go_and_none_is_left(
    gateway: Running, user: User, push: FakePush, chat_id: str
) -> None:
    async def one() -> None:
        async with follow(user, chat_id):
            pass

    await asyncio.gather(*(one() for _ in range(20)))
    await eventually(lambda: "parley_gateway_streams 0.0" in gateway.process.get("/metrics")[1])
