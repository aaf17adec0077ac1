"""Server-sent events: the same rooms and cursors as a socket's, over a response without an end."""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest

from parley.contracts.frames import ChatFrame, Cursor, Error, Snapshot
from parley.contracts.ids import new_id
from tests.integration.push.backend import Backend
from tests.integration.push.conftest import Describe, url_of
from tests.integration.push.event_reader import access_token, refused, stream_url, streaming
from tests.integration.push.reader import DEADLINE, KEYS, reading
from tests.integration.push.test_slow import resident
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually
from tests.unit.push.world import Client


async def test_frames_come_as_events_whose_id_is_the_cursor(backend: Backend, push: ServiceProcess) -> None:
    chat = backend.new_chat("ann")
    store = backend.chats[chat]
    async with streaming(push, chat) as reader:
        assert reader.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reader.response.headers["cache-control"] == "no-store, no-transform"
        assert reader.response.headers["x-accel-buffering"] == "no"
        assert reader.response.headers["x-content-type-options"] == "nosniff"
        assert reader.response.headers["x-request-id"]
        await reader.snapshot()
        assert reader.comments == ["connected"]
        await backend.submit(chat)
        await backend.claim(chat)
        await backend.say(chat, 3)
        await backend.say(chat, 2, "reasoning")
        await eventually(lambda: reader.client.running is not None and reader.client.running.seq == 5)
        ref = store.ref
        assert ref is not None
        expected = Cursor(version=store.version, generation_id=ref.generation_id, attempt=1, seq=5)
        assert msgspec.json.decode(reader.last_event_id, type=Cursor) == expected
        await backend.finish(chat)
        await eventually(lambda: reader.last_event_id == msgspec.json.encode(Cursor(version=store.version)).decode())
        assert reader.client.running is None
        assert list(reader.client.messages.values()) == list(store.messages.values())
        assert None not in reader.ids


@pytest.mark.parametrize("where", ["header", "query"])
async def test_a_reader_that_comes_back_is_sent_what_came_later(
    backend: Backend, push: ServiceProcess, where: str
) -> None:
    chat = backend.new_chat("ann")
    await backend.submit(chat)
    await backend.claim(chat)
    await backend.say(chat, 3)
    async with streaming(push, chat) as reader:
        await reader.snapshot()
    async with reading(url_of(push)) as socket:
        # The room holds the deltas that come meanwhile.
        await socket.follow(chat)
        await backend.say(chat, 2)
        socket_client = socket.clients[chat]
        await eventually(lambda: socket_client.running is not None and socket_client.running.seq == 5)
        if where == "header":
            async with streaming(push, chat, client=reader.client, last_event_id=reader.last_event_id) as again:
                await eventually(lambda: again.client.running is not None and again.client.running.seq == 5)
                snapshot = again.client.frames[-1]
        else:
            after = httpx.QueryParams({"after": reader.last_event_id})
            async with streaming(push, f"{chat}/stream?{after}#", client=reader.client) as again:
                await eventually(lambda: again.client.running is not None and again.client.running.seq == 5)
                snapshot = again.client.frames[-1]
    assert isinstance(snapshot, Snapshot)
    assert snapshot.recovered
    assert snapshot.generation is not None
    assert snapshot.generation.after == 3


async def test_losing_the_connection_again_and_again_loses_and_doubles_nothing(
    backend: Backend, push: ServiceProcess
) -> None:
    chat = backend.new_chat("ann")
    store = backend.chats[chat]
    client, last_event_id, done = Client(), "", False

    async def answer() -> None:
        await backend.submit(chat)
        await backend.claim(chat)
        for number in range(60):
            await backend.say(chat, 1, "reasoning" if number % 7 == 0 else "text")
            await asyncio.sleep(0)
        await backend.finish(chat)

    async with asyncio.TaskGroup() as group:
        answering = group.create_task(answer())
        while not done:
            seen = len(client.frames)
            async with streaming(push, chat, client=client, last_event_id=last_event_id) as reader:
                await eventually(lambda: len(client.frames) >= seen + 2 or answering.done(), deadline=DEADLINE)  # noqa: B023
                if answering.done():
                    await eventually(lambda: client.version == store.version and client.running is None)
                    done = True
            last_event_id = reader.last_event_id or last_event_id
    for message in store.messages.values():
        assert client.messages[message.id] == message


@pytest.mark.parametrize("last_event_id", ["1795389024", "{}", '{"version":-1}', '{"version":1e99}', "x" * 9000])
async def test_a_last_event_id_that_cannot_be_read_asks_for_everything(
    backend: Backend, push: ServiceProcess, last_event_id: str
) -> None:
    chat = backend.new_chat("ann")
    await backend.answer(chat, 2)
    async with streaming(push, chat, last_event_id=last_event_id) as reader:
        await reader.snapshot()
        assert len(reader.client.messages) == 2


async def test_http_1_0_is_sent_the_events_unframed_and_at_once(backend: Backend, push: ServiceProcess) -> None:
    chat = backend.new_chat("ann")
    stream, writer = await asyncio.open_connection("127.0.0.1", int(push.environment["PORT"]))
    writer.write(
        f"GET /v1/chats/{chat}/stream HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n"
        f"Authorization: Bearer {access_token()}\r\n\r\n".encode()
    )
    async with asyncio.timeout(DEADLINE):
        head = (await stream.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith(("http/1.1 200 ", "http/1.0 200 "))
        assert "transfer-encoding" not in head
        assert "content-length" not in head
        assert "connection: close" in head
        read = await stream.readuntil(b": connected\n\n")
        read += await stream.readuntil(b"\n\n")
    blocks = [block for block in read.decode().split("\n\n") if block]
    assert all(re.match(r"(retry|id|data)?: ", line) for block in blocks for line in block.split("\n"))
    writer.transport.abort()


# --- who may read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "not_authenticated"),
        ({"authorization": "Basic c2VjcmV0", "cookie": f"parley_session={access_token()}"}, 401, "not_authenticated"),
        ({"authorization": "Bearer x.y.z"}, 401, "token_invalid"),
        ({"authorization": f"Bearer {KEYS.issue('session', 'ann', 86_400)[0]}"}, 401, "token_invalid"),
        ({"authorization": f"Bearer {KEYS.issue('ticket', 'ann', 86_400)[0]}"}, 401, "token_invalid"),
        ({"authorization": f"Bearer {access_token(ttl=-60)}"}, 401, "token_expired"),
        ({"authorization": f"Bearer {access_token()}", "parley-user": "ben"}, 412, "other_user"),
        ({"authorization": f"Bearer {access_token('eve')}"}, 404, "not_found"),
    ],
)
async def test_who_may_not_read_gets_a_problem(
    backend: Backend, push: ServiceProcess, headers: dict[str, str], status: int, code: str
) -> None:
    response = await refused(push, backend.new_chat("ann"), headers=headers | {"x-request-id": "abc"})
    assert_problem(response, status, code)
    assert response.json()["request_id"] == response.headers["x-request-id"] == "abc"
    assert ("www-authenticate" in response.headers) == (status == 401)


@pytest.mark.parametrize("chat_id", ["01890000-0000-7000-8000-000000000000", "no-id", "%2e%2e"])
async def test_a_chat_that_does_not_exist_is_not_found(backend: Backend, push: ServiceProcess, chat_id: str) -> None:
    assert_problem(await refused(push, chat_id), 404, "not_found")


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
async def test_only_get_is_answered(backend: Backend, push: ServiceProcess, method: str) -> None:
    response = await refused(push, backend.new_chat("ann"), method=method)
    assert (response.status_code, response.headers["allow"]) == (405, "GET")


async def test_what_is_not_http_is_refused(push: ServiceProcess) -> None:
    stream, writer = await asyncio.open_connection("127.0.0.1", int(push.environment["PORT"]))
    writer.write(f"GET /v1/chats/{new_id()}/stream HTTP/1.1\r\nno header\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE):
        assert (await stream.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_without_chat_store_it_is_a_503_that_says_when_to_come_back(
    backend: Backend, push: ServiceProcess
) -> None:
    backend.store.silent = True
    response = await refused(push, backend.new_chat("ann"))
    assert_problem(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) >= 1


async def test_a_removed_member_s_stream_ends(backend: Backend, push: ServiceProcess) -> None:
    chat = backend.new_chat("ann", "ben")
    async with streaming(push, chat) as owner, streaming(push, chat, "ben") as member:
        await owner.snapshot()
        await member.snapshot()
        await backend.publish(backend.chats[chat].remove("ben"))
        await member.wait_ended()
        assert isinstance(member.client.frames[-1], ChatFrame)
        assert member.client.gone
        assert member.complete
        await backend.answer(chat, 3)
        await eventually(lambda: owner.client.version == backend.chats[chat].version)


async def test_a_deleted_chat_s_stream_ends(backend: Backend, push: ServiceProcess) -> None:
    chat = backend.new_chat("ann")
    async with streaming(push, chat) as reader:
        await reader.snapshot()
        await backend.publish(backend.chats.pop(chat).delete())
        await reader.wait_ended()
        assert reader.client.gone
        assert reader.complete
        assert "connect again" not in reader.comments


async def test_it_outlives_its_access_token_and_ends_when_that_says(backend: Backend, push: ServiceProcess) -> None:
    # Ten seconds of leeway are for clocks that differ, not for the stream's end.
    ends_at = datetime.now(UTC) + timedelta(seconds=3)
    token = access_token(ttl=1, ends_at=ends_at)
    async with streaming(push, backend.new_chat("ann"), authorization=f"Bearer {token}") as reader:
        await reader.snapshot()
        await reader.wait_ended()
        assert datetime.now(UTC) >= ends_at - timedelta(seconds=1)
        (ended,) = [frame for frame in reader.client.frames if isinstance(frame, Error)]
        assert ended.code == "session_ended"
        assert "connect again" not in reader.comments
        assert reader.complete


async def test_a_page_of_an_allowed_origin_may_read_and_another_may_not(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann")
    async with describe(ALLOWED_ORIGINS="https://chat.example.org") as push:
        async with streaming(push, chat, origin="https://chat.example.org") as reader:
            assert reader.response.headers["access-control-allow-origin"] == "https://chat.example.org"
            assert reader.response.headers["access-control-allow-credentials"] == "true"
        async with streaming(push, chat, origin="https://evil.example.org") as reader:
            assert "access-control-allow-origin" not in reader.response.headers
        asked = {"origin": "https://chat.example.org", "access-control-request-method": "GET"}
        preflight = await refused(push, chat, method="OPTIONS", headers=asked)
        assert preflight.status_code == 204
        assert "Last-Event-ID" in preflight.headers["access-control-allow-headers"]


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_streams_count_as_sockets_of_their_user(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann")
    async with describe(MAX_SOCKETS_PER_USER="2") as push, AsyncExitStack() as stack:
        await stack.enter_async_context(reading(url_of(push)))
        await stack.enter_async_context(streaming(push, chat))
        response = await refused(push, chat)
        assert_problem(response, 429, "too_many")
        assert int(response.headers["retry-after"]) >= 1
        await stack.aclose()
        await eventually(lambda: "parley_push_sockets 0.0" in push.get("/metrics")[1])
        async with streaming(push, chat) as reader:
            await reader.snapshot()


async def test_streams_that_the_gateway_reads_for_programs_do_not_count(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann")
    async with describe(MAX_SOCKETS_PER_USER="1") as push, AsyncExitStack() as stack:
        for _ in range(3):
            authorization = f"Bearer {access_token(for_answer=True)}"
            reader = await stack.enter_async_context(streaming(push, chat, authorization=authorization))
            await reader.snapshot()
        async with streaming(push, chat) as own:
            await own.snapshot()
            assert_problem(await refused(push, chat), 429, "too_many")


async def test_streams_of_one_address_are_counted_as_the_proxy_says(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann")
    async with (
        describe(MAX_SOCKETS_PER_ADDRESS="1", TRUSTED_PROXIES="127.0.0.0/8") as push,
        streaming(push, chat, x_forwarded_for="9.9.9.9, 203.0.113.7"),
    ):
        headers = {"authorization": f"Bearer {access_token()}", "x-forwarded-for": "203.0.113.7"}
        assert_problem(await refused(push, chat, headers=headers), 429, "too_many")
        async with streaming(push, chat, x_forwarded_for="203.0.113.8") as other:
            await other.snapshot()


async def test_many_streams_come_and_go_and_none_is_left(backend: Backend, push: ServiceProcess) -> None:
    chat = backend.new_chat("ann")

    async def one() -> None:
        async with streaming(push, chat):
            pass

    await asyncio.gather(*(one() for _ in range(20)))
    await eventually(lambda: "parley_push_streams 0.0" in push.get("/metrics")[1])
    await eventually(lambda: push.log.count(f"GET /v1/chats/{chat}/stream 200") == 20)


async def test_a_reader_that_does_not_read_costs_a_cursor_and_then_gets_everything(
    backend: Backend, push: ServiceProcess
) -> None:
    chat = backend.new_chat("ann")
    await backend.submit(chat)
    await backend.claim(chat)
    async with streaming(push, chat) as slow, streaming(push, chat) as quick:
        await slow.snapshot()
        await quick.snapshot()
        slow.stop_reading()
        before = resident(push)
        lagging = False
        for number in range(60_000):
            await backend.say(chat)
            if number % 500 == 499:
                said = number + 1
                await eventually(
                    lambda: quick.client.running is not None and quick.client.running.seq == said,  # noqa: B023
                    deadline=DEADLINE,
                )
                if lagging := "parley_push_lagging_readers 1.0" in push.get("/metrics")[1]:
                    break
        assert lagging
        assert resident(push) - before < 20_000_000
        slow.go_on_reading()
        await eventually(lambda: slow.client.running == quick.client.running, deadline=DEADLINE)
        await backend.finish(chat)
        await eventually(lambda: slow.client.version == backend.chats[chat].version)


async def test_sigterm_sends_streams_elsewhere(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann")
    async with describe() as push, streaming(push, chat) as reader:
        await reader.snapshot()
        push.signal(signal.SIGTERM)
        await reader.wait_ended()
        assert reader.comments[-1] == "connect again"
        assert reader.complete
        assert await asyncio.to_thread(push.wait, deadline=12) == 0


async def test_it_is_served_below_a_path(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann")
    async with describe(BASE_PATH="/chat") as push, httpx.AsyncClient(trust_env=False) as http:
        url = stream_url(push, chat).replace("/v1/", "/chat/v1/")
        async with http.stream("GET", url, headers={"authorization": f"Bearer {access_token()}"}) as response:
            assert response.status_code == 200


def assert_problem(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert len(problem["detail"]) > 10
