"""Our own framing and flow control get along with a client that does it all by the library, and with raw bytes."""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect

from parley_cli.embedded.ports import LOOPBACK
from tests.integration.push.backend import Backend
from tests.integration.push.reader import DEADLINE, reading, ticket
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually

HANDSHAKE = (
    b"GET /ws?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)


def masked(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's frame."""
    mask = os.urandom(4)
    length = len(payload)
    head = bytes(((0x80 if fin else 0) | opcode, 0x80 | (length if length < 126 else 126)))
    head += struct.pack("!H", length) if length >= 126 else b""
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class RawSocket:
    """A websocket spoken by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @property
    def auth(self) -> bytes:
        return json.dumps({"type": "auth", "ticket": ticket()}).encode()

    async def read(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame."""
        async with asyncio.timeout(DEADLINE):
            first, length = await self.reader.readexactly(2)
            assert first & 0xF0 == 0x80, "neither fragmented nor compressed"
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def at_end(self) -> bool:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read() == b""


@asynccontextmanager
async def raw_socket(push: ServiceProcess, *, authenticate: bool = True) -> AsyncIterator[RawSocket]:
    reader, writer = await asyncio.open_connection(LOOPBACK, int(push.environment["PORT"]))
    try:
        raw = RawSocket(reader, writer)
        writer.write(HANDSHAKE)
        async with asyncio.timeout(DEADLINE):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert b"extensions" not in head.lower()
        if authenticate:
            writer.write(masked(1, raw.auth))
            assert json.loads((await raw.read())[1])["type"] == "ready"
        yield raw
    finally:
        writer.transport.abort()


async def test_messages_may_come_in_fragments_with_pings_between_them(backend: Backend, push: ServiceProcess) -> None:
    chat = backend.new_chat("ann")
    async with raw_socket(push, authenticate=False) as raw:
        raw.writer.write(
            masked(1, raw.auth[:5], fin=False)
            + masked(9, b"are you there?")
            + masked(0, b"", fin=False)
            + masked(0, raw.auth[5:])
        )
        frames = dict([await raw.read(), await raw.read()])
        assert frames[10] == b"are you there?"
        assert json.loads(frames[1])["type"] == "ready"
        watch = json.dumps({"type": "watch", "chat_id": chat}).encode()
        for index, byte in enumerate(watch):
            raw.writer.write(masked(1 if index == 0 else 0, bytes((byte,)), fin=index == len(watch) - 1))
        assert json.loads((await raw.read())[1])["type"] == "snapshot"


async def test_a_frame_may_come_byte_by_byte(push: ServiceProcess) -> None:
    async with raw_socket(push) as raw:
        for byte in masked(9, b"slowly"):
            raw.writer.write(bytes((byte,)))
            await raw.writer.drain()
        assert await raw.read() == (10, b"slowly")


async def test_a_client_may_close_in_the_middle_of_an_answer(backend: Backend, push: ServiceProcess) -> None:
    chat = backend.new_chat("ann")
    async with raw_socket(push) as raw:
        raw.writer.write(masked(1, json.dumps({"type": "watch", "chat_id": chat}).encode()))
        assert json.loads((await raw.read())[1])["type"] == "snapshot"
        await backend.submit(chat)
        await backend.claim(chat)
        await backend.say(chat, 1)
        while json.loads((await raw.read())[1])["type"] != "delta":
            pass
        raw.writer.write(masked(8, struct.pack("!H", 1000) + b"bye"))
        for _ in range(20):
            await backend.say(chat, 1)
        opcode, payload = await raw.read()
        while opcode == 1:
            opcode, payload = await raw.read()
        assert (opcode, payload) == (8, struct.pack("!H", 1000) + b"bye")
        assert await raw.at_end(), "nothing comes after a close frame"


async def test_a_close_frame_arrives_though_the_client_goes_on_sending(push: ServiceProcess) -> None:
    async with raw_socket(push) as raw:
        raw.writer.write(masked(2, b"binary") + masked(1, b"more") * 200)
        opcode, payload = await raw.read()
        assert (opcode, payload[:2]) == (8, struct.pack("!H", 4400))
        raw.writer.write(masked(8, payload[:2]))
        assert await raw.at_end()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x05hello", 1002),  # not masked
        (masked(0, b"nothing to continue"), 1002),
        (masked(1, b"one", fin=False) + masked(1, b"two"), 1002),
        (b"\xc1\x80\0\0\0\0", 1002),  # compressed, which was not agreed on
        (masked(3, b"?"), 1002),
        (b"\x81\xff" + struct.pack("!Q", 1 << 40) + b"\0\0\0\0", 1009),
    ],
    ids=["not-masked", "nothing-to-continue", "two-at-once", "compressed", "unknown-opcode", "too-long"],
)
async def test_broken_framing_is_closed_as_the_standard_says(push: ServiceProcess, frame: bytes, code: int) -> None:
    async with raw_socket(push) as raw:
        raw.writer.write(frame)
        opcode, payload = await raw.read()
        assert (opcode, payload[:2]) == (8, struct.pack("!H", code))
        assert await raw.at_end()


async def test_frames_of_every_length_come_through(backend: Backend, url: str) -> None:
    """The header has three forms; 125, 126, 65,535 and 65,536 bytes are where they meet."""
    chat = backend.new_chat("ann")
    async with reading(url) as reader:
        client = await reader.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        for chunks in (1, 2, 50, 6_000, 6_500, 7_000, 30_000):
            await backend.say(chat, chunks)
        store = backend.chats[chat]
        assert store.ref is not None
        said = store.attempts[store.ref.generation_id, 1]
        await eventually(
            lambda: client.running is not None and (client.running.text, "") == said.until(len(said.chunks))[:2]
        )


async def test_the_library_s_close_and_ping_work(push: ServiceProcess, url: str) -> None:
    async with connect(url, proxy=None) as ws:
        await ws.send(json.dumps({"type": "auth", "ticket": ticket()}))
        assert json.loads(await ws.recv())["type"] == "ready"
        await asyncio.wait_for(await ws.ping(), DEADLINE)
        assert ws.protocol.extensions == []
    assert ws.close_code == 1000
    await eventually(lambda: "parley_push_sockets 0.0" in push.get("/metrics")[1])


async def test_a_client_that_never_ends_its_side_is_dropped(push: ServiceProcess) -> None:
    async with raw_socket(push) as raw:
        raw.writer.write(masked(2, b"binary"))
        assert (await raw.read())[0] == 8

        async def goes_on() -> None:
            while True:
                raw.writer.write(masked(9, b"still here"))
                await raw.writer.drain()
                await asyncio.sleep(0.1)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(goes_on(), DEADLINE)
    await eventually(lambda: 'parley_push_sockets_closed_total{code="4400"}' in push.get("/metrics")[1])
