"""Every wrong input has its close code, and the service lives on without a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from parley.contracts.ids import new_id
from parley.runtime.tokens import KeyRing
from tests.integration.push.backend import Backend
from tests.integration.push.conftest import Describe, url_of
from tests.integration.push.reader import DEADLINE, KEYS, is_closed_with, reading, ticket
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually
from tests.unit.push.world import Client


async def code_after(url: str, *messages: str | bytes, user: str | None = None) -> int | None:
    """Return the code that the socket is closed with after these messages."""
    async with connect(url, compression=None, proxy=None, ping_interval=None) as ws:
        try:
            if user is not None:
                await ws.send(json.dumps({"type": "auth", "ticket": ticket(user)}))
            for message in messages:
                await ws.send(message)
            async with asyncio.timeout(DEADLINE):
                while True:
                    await ws.recv()
        except ConnectionClosed as closed:
            return is_closed_with(closed)


def auth(ticket: Any) -> str:
    return json.dumps({"type": "auth", "ticket": ticket})


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        "{",
        "[]",
        "null",
        "{}",
        '{"type":"auth"}',
        '{"type":"auth","ticket":1}',
        '{"type":"dance"}',
        '{"type":"watch"}',
        '{"type":"watch","chat_id":"x","after":{"version":"1"}}',
        '{"type":"watch","chat_id":"x","after":{"version":-1}}',
        '{"type":"watch","chat_id":"x","after":{"version":1e300}}',
        f'{{"type":"watch","chat_id":"x","after":{{"version":{10**30}}}}}',
        '{"type":"delta"}',
        '{"type":"unwatch","chat_id":null}',
        "[" * 5000,
        # How deep is too deep depends on the interpreter.
        '{"more":' + "[" * 8000 + "]" * 8000 + ',"type":"dance"}',
        b"\x00\x01",
        b'{"type":"unwatch","chat_id":"x"}',
    ],
)
async def test_what_no_client_sends_is_4400(url: str, message: str | bytes) -> None:
    assert await code_after(url, message, user="ann") == 4400


async def test_text_that_is_not_utf_8_is_4400(url: str) -> None:
    async with reading(url) as reader:
        await reader.socket.send(b'{"type":"unwatch","chat_id":"\xff"}', text=True)
        assert await reader.wait_closed() == 4400


async def test_a_second_auth_is_4400(url: str) -> None:
    assert await code_after(url, auth(ticket()), user="ann") == 4400


async def test_without_a_good_ticket_it_is_4401(url: str) -> None:
    for message in (
        json.dumps({"type": "watch", "chat_id": new_id()}),
        json.dumps({"type": "unwatch", "chat_id": new_id()}),
        auth(""),
        auth("forged"),
        auth(KeyRing(["another key that is long enough too"]).issue("ticket", "ann", 60)[0]),
        auth(KEYS.issue("session", "ann", 86_400)[0]),
    ):
        assert await code_after(url, message) == 4401, message


async def test_an_expired_ticket_is_4002(url: str) -> None:
    assert await code_after(url, auth(ticket(ttl=-60))) == 4002


async def test_no_ticket_in_time_is_4401(describe: Describe) -> None:
    async with describe(AUTH_TIMEOUT="0.3") as push:
        assert await code_after(url_of(push)) == 4401
        async with reading(url_of(push)) as reader:
            assert await code_after(url_of(push)) == 4401
            assert reader.closed is None


async def test_a_frame_too_large_is_1009(url: str) -> None:
    assert await code_after(url, auth("x" * 20_000)) == 1009
    assert await code_after(url, json.dumps({"type": "watch", "chat_id": "x" * 200_000}), user="ann") == 1009


async def test_a_message_without_an_end_is_1009_and_costs_no_memory(push: ServiceProcess, url: str) -> None:
    async def pieces() -> AsyncIterator[str]:
        while True:
            yield "x" * 1000
            await asyncio.sleep(0)

    async with reading(url) as reader:
        with contextlib.suppress(ConnectionClosed):
            await asyncio.wait_for(reader.socket.send(pieces()), DEADLINE)
        assert await reader.wait_closed() in (1009, 4429)


async def test_a_message_in_pieces_is_one_message(url: str, backend: Backend) -> None:
    chat = backend.new_chat("ann")
    text = json.dumps({"type": "watch", "chat_id": chat})
    async with reading(url) as reader:
        client = reader.clients.setdefault(chat, Client())
        await reader.socket.send(list(text))
        await eventually(lambda: client.version > 0, deadline=DEADLINE)


async def test_pieces_without_a_word_in_them_are_4429_or_1009(describe: Describe) -> None:
    """Each costs six bytes and no text, so a limit of bytes alone would let them come for ever."""

    async def nothing() -> AsyncIterator[str]:
        while True:
            yield ""
            await asyncio.sleep(0)

    async with describe(FRAMES_PER_SECOND="20", FRAMES_BURST="250") as push, reading(url_of(push)) as reader:
        with contextlib.suppress(ConnectionClosed):
            await asyncio.wait_for(reader.socket.send(nothing()), DEADLINE)
        assert await reader.wait_closed() in (1009, 4429)


async def test_compression_is_not_agreed_on_and_what_is_compressed_all_the_same_is_1002(url: str) -> None:
    """A bomb of a few bytes would be a message of megabytes."""
    async with connect(url, compression="deflate", proxy=None, ping_interval=None) as ws:
        assert ws.protocol.extensions == []
        bomb = zlib.compress(b"x" * 10_000_000, wbits=-15)[:100]
        # Final, RSV1, text; masked with zeros.
        ws.transport.write(bytes([0xC1, 0x80 | len(bomb), 0, 0, 0, 0]) + bomb)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(ws.recv(), DEADLINE)
        assert is_closed_with(closed.value) == 1002


async def test_a_chat_that_is_opened_and_closed_again_and_again_leaves_one_room(
    backend: Backend, describe: Describe
) -> None:
    chat = backend.new_chat("ann")
    async with describe(FRAMES_PER_SECOND="100000", FRAMES_BURST="100000") as push, reading(url_of(push)) as reader:
        client = await reader.follow(chat)
        for _ in range(500):
            await reader.socket.send(json.dumps({"type": "unwatch", "chat_id": chat}))
            await reader.socket.send(json.dumps({"type": "watch", "chat_id": chat}))
        await backend.submit(chat)
        await eventually(lambda: client.version == backend.chats[chat].version, deadline=DEADLINE)
        await eventually(lambda: "parley_push_rooms 1.0" in push.get("/metrics")[1])
        assert backend.asked["sync"] < 100


async def test_too_many_sockets_of_a_user_is_4429(describe: Describe) -> None:
    async with describe(MAX_SOCKETS_PER_USER="2") as push:
        url = url_of(push)
        async with reading(url, "ann"), reading(url, "ben"):
            async with reading(url, "ann"):
                assert await code_after(url, user="ann") == 4429
            await eventually(lambda: "parley_push_sockets 2.0" in push.get("/metrics")[1])
            async with reading(url, "ann"):
                pass


async def test_too_many_frames_is_4429(describe: Describe) -> None:
    async with describe(FRAMES_PER_SECOND="1", FRAMES_BURST="20") as push:
        watch = json.dumps({"type": "unwatch", "chat_id": new_id()})
        assert await code_after(url_of(push), *[watch] * 40, user="ann") == 4429


async def test_a_flood_of_pings_is_4429(describe: Describe) -> None:
    async with describe(FRAMES_PER_SECOND="1", FRAMES_BURST="20") as push, reading(url_of(push)) as reader:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                await reader.socket.ping()
        assert await reader.wait_closed() == 4429


async def test_too_many_chats_is_an_error_and_the_socket_lives(backend: Backend, describe: Describe) -> None:
    async with describe(MAX_CHATS_PER_SOCKET="2") as push, reading(url_of(push)) as reader:
        chats = [backend.new_chat("ann") for _ in range(3)]
        for chat in chats[:2]:
            await reader.follow(chat)
        refused = await reader.watch(chats[2])
        await eventually(lambda: refused.refused == "too_many")
        again = await reader.watch(chats[0])
        await eventually(lambda: len(again.frames) == 2)
        await reader.send(type="unwatch", chat_id=chats[1])
        await reader.follow(chats[2])


@pytest.mark.parametrize(
    ("origin", "allowed", "status"),
    [
        (None, "", 101),
        ("http://127.0.0.1:8000", "", 101),
        ("http://localhost:5173", "", 101),
        ("https://evil.example", "", 403),
        ("null", "", 403),
        ("https://chat.example", "https://chat.example, https://other.example", 101),
        ("https://evil.example", "https://chat.example", 403),
        (
            "http://localhost:5173",
            "https://chat.example",
            101,
        ),  # this machine, which push was reached as, by another name
        (None, "https://chat.example", 101),
        ("https://evil.example", "*", 101),
    ],
)
async def test_pages_of_other_origins_may_not_connect(
    describe: Describe, origin: str | None, allowed: str, status: int
) -> None:
    async with describe(ALLOWED_ORIGINS=allowed) as push:
        try:
            async with connect(url_of(push), origin=origin, proxy=None):  # type: ignore[arg-type]
                got = 101
        except InvalidStatus as error:
            got = error.response.status_code
        assert got == status


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 404),
        (b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n", 431),
    ],
)
async def test_what_is_no_handshake_gets_an_http_answer(push: ServiceProcess, request_: bytes, status: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(push.environment["PORT"]))
    writer.write(request_)
    async with asyncio.timeout(DEADLINE):
        answer = await reader.readline()
        await reader.read()
    writer.close()
    assert answer.split()[1] == str(status).encode()


async def test_what_is_no_http_is_closed(push: ServiceProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(push.environment["PORT"]))
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == b""
    writer.close()


async def test_a_connection_that_says_nothing_is_closed(describe: Describe) -> None:
    async with describe(AUTH_TIMEOUT="0.3") as push:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(push.environment["PORT"]))
        async with asyncio.timeout(DEADLINE):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()


async def test_a_socket_that_answers_no_pings_is_4001(describe: Describe) -> None:
    async with describe(PING_INTERVAL="0.3") as push, reading(url_of(push)) as answering:
        async with connect(url_of(push), compression=None, proxy=None, ping_interval=None) as ws:
            ws.protocol.send_pong = lambda data: None  # type: ignore[method-assign]
            ws.protocol.send_frame = lambda frame: None  # type: ignore[method-assign]
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(DEADLINE):
                    await ws.recv()
            assert is_closed_with(closed.value) == 4001
        assert answering.closed is None
