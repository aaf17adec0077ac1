"""Pouring out a body: what comes is taken within the event loop's callback for the read."""

import asyncio

import httpx2
import pytest

from llm_worker.transport import BODY, DirectBody, Take
from tests.support.waiting import eventually
from tests.unit.llm_worker.test_transport import CHUNKED, HELLO, Server, client, hello, server

__all__ = ["client"]


def into(got: list[bytes]) -> Take:
    def take(data: bytes) -> bool:
        got.append(data)
        return True

    return take


async def pour(client: httpx2.AsyncClient, url: str, take: Take) -> None:
    async with client.stream("GET", url) as response:
        body = response.extensions[BODY]
        assert isinstance(body, DirectBody)
        await body.pour(take)


async def test_every_read_is_taken_and_the_connection_used_again(client: httpx2.AsyncClient) -> None:
    seen = asyncio.Event()

    async def slowly(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await remote.request(reader)
            seen.clear()
            writer.write(CHUNKED)
            for chunk in (b"3\r\none\r\n", b"3\r\ntwo\r\n"):
                writer.write(chunk)
                await seen.wait()
                seen.clear()
            writer.write(b"0\r\n\r\n")

    async with server(slowly) as remote:
        for _ in range(3):
            got: list[bytes] = []

            def take(data: bytes, got: list[bytes] = got) -> bool:
                got.append(data)
                seen.set()
                return True

            await pour(client, remote.url, take)
            assert got == [b"one", b"two"]
        assert remote.connections == 1


async def test_a_body_that_came_with_its_head_is_taken(client: httpx2.AsyncClient) -> None:
    got: list[bytes] = []
    async with server(hello) as remote:
        for _ in range(2):
            await pour(client, remote.url, into(got))
        assert (b"".join(got), remote.connections) == (b"hellohello", 1)


async def endlessly(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await remote.request(reader)
    writer.write(CHUNKED)
    while not writer.is_closing():
        writer.write(b"2\r\nhi\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


async def test_whoever_has_enough_closes_the_connection(client: httpx2.AsyncClient) -> None:
    got: list[bytes] = []

    def take(data: bytes) -> bool:
        got.append(data)
        return len(got) < 3

    async with server(endlessly) as remote:
        await pour(client, remote.url, take)
        assert len(got) == 3
        await eventually(lambda: remote.closed)


async def test_what_the_taker_raises_is_raised(client: httpx2.AsyncClient) -> None:
    class Enough(Exception):
        pass

    calls = 0

    def take(data: bytes) -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Enough
        return True

    async with server(endlessly) as remote:
        with pytest.raises(Enough):
            await pour(client, remote.url, take)
        await eventually(lambda: remote.closed)
    assert calls == 3


async def test_nothing_is_taken_once_it_is_interrupted(client: httpx2.AsyncClient) -> None:
    calls = 0
    begun = asyncio.Event()

    def take(data: bytes) -> bool:
        nonlocal calls
        calls += 1
        begun.set()
        return True

    async with server(endlessly) as remote:
        pouring = asyncio.create_task(pour(client, remote.url, take))
        await begun.wait()
        pouring.cancel()
        before = calls
        with pytest.raises(asyncio.CancelledError):
            await pouring
        await eventually(lambda: remote.closed)
        assert calls == before


@pytest.mark.parametrize("end", [b"", b"5\r\nhal"])
async def test_a_body_that_is_cut_off_is_an_error(client: httpx2.AsyncClient, end: bytes) -> None:
    async def cut(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.request(reader)
        writer.write(CHUNKED + b"2\r\nhi\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(end)

    async with server(cut) as remote:
        with pytest.raises(httpx2.RemoteProtocolError, match="in the middle"):
            await pour(client, remote.url, lambda _: True)


async def test_a_body_without_a_length_ends_with_the_connection(client: httpx2.AsyncClient) -> None:
    async def unsized(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhi")

    got: list[bytes] = []
    async with server(unsized) as remote:
        await pour(client, remote.url, into(got))
    assert b"".join(got) == b"hi"


async def test_more_than_the_body_closes_the_connection(client: httpx2.AsyncClient) -> None:
    async def more(remote: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.request(reader)
        writer.write(HELLO + b"and more")
        await reader.read()

    got: list[bytes] = []
    async with server(more) as remote:
        await pour(client, remote.url, into(got))
        assert b"".join(got) == b"hello"
        await eventually(lambda: remote.closed)
