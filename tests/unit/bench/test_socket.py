"""The readers' own websocket, against the ``websockets`` server that push is built on."""

import asyncio
import json

from websockets.asyncio.server import ServerConnection, serve

from parley_bench.socket import RawSocket
from tests.support.waiting import eventually

TEXTS = ["", "short", "x" * 125, "y" * 126, "z" * 70_000, "naïve 漢字 🦜"]


async def test_it_sends_its_first_frames_and_reads_frames_of_every_length() -> None:
    received: list[object] = []

    async def serve_one(connection: ServerConnection) -> None:
        received.extend([json.loads(await connection.recv()), json.loads(await connection.recv())])
        for text in TEXTS:
            await connection.send(text)
        await connection.ping()
        await connection.close(4000, "draining")

    got: list[bytes] = []
    async with serve(serve_one, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        socket = RawSocket([{"first": 1}, {"second": "ü" * 200}], got.append)
        await socket.connect(f"ws://127.0.0.1:{port}/ws")
        async with asyncio.timeout(10):
            assert await socket.lost == 4000
    assert received == [{"first": 1}, {"second": "ü" * 200}]
    assert [text.decode() for text in got] == TEXTS


async def test_it_reads_nothing_while_it_is_paused_and_everything_afterwards() -> None:
    async def serve_one(connection: ServerConnection) -> None:
        async for _ in connection:
            for number in range(1000):
                await connection.send(f"{number:04}" * 256)

    got: list[bytes] = []
    async with serve(serve_one, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        socket = RawSocket([], got.append)
        await socket.connect(f"ws://127.0.0.1:{port}/ws", receive_buffer=4096)
        socket.pause()
        socket.send({"go": True})
        before = len(got)
        await asyncio.sleep(0)
        assert len(got) == before
        socket.resume()
        await eventually(lambda: len(got) == 1000)
        socket.drop()
        async with asyncio.timeout(10):
            await socket.lost
    assert got == [(f"{number:04}" * 256).encode() for number in range(1000)]
