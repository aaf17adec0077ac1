"""The proxy that misbehaves, between real sockets."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.chaos.proxy import Proxy
from tests.support.waiting import eventually


class Echo(asyncio.Protocol):
    """Sends everything back."""

    def __init__(self, echoes: "Echoes") -> None:
        self._echoes = echoes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._echoes.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        self._echoes.received += data
        self.transport.write(data)


class Echoes:
    """All connections of the server."""

    def __init__(self) -> None:
        self.transports: list[asyncio.Transport] = []
        self.received = b""

    def end(self) -> None:
        """Close them, as a process that ends."""
        for transport in self.transports:
            transport.close()


@pytest.fixture
def echo() -> Echoes:
    return Echoes()


@pytest.fixture
async def proxy(echo: Echoes) -> AsyncIterator[Proxy]:
    async with (
        await asyncio.get_running_loop().create_server(lambda: Echo(echo), "127.0.0.1", 0) as server,
        Proxy("test", ("127.0.0.1", int(server.sockets[0].getsockname()[1]))) as proxy,
    ):
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def echo(self, data: bytes) -> bytes:
        self.writer.write(data)
        return await self.reader.readexactly(len(data))


Connect = Callable[[Proxy], Awaitable[Client]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    clients: list[Client] = []

    async def connect(proxy: Proxy) -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return clients[-1]

    yield connect
    for client in clients:
        client.writer.transport.abort()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()


async def test_it_carries_bytes_both_ways(connect: Connect, proxy: Proxy) -> None:
    client = await connect(proxy)
    big = random.Random(1).randbytes(3_000_000)
    assert await client.echo(big) == big
    assert proxy.connections == 1
    client.writer.close()
    await eventually(lambda: proxy.connections == 0)


async def test_the_end_of_one_side_reaches_the_other_behind_what_was_sent(
    connect: Connect, proxy: Proxy, echo: Echoes
) -> None:
    client = await connect(proxy)
    proxy.delay = 0.05
    client.writer.write(b"last words")
    await eventually(lambda: echo.received == b"last words")
    echo.end()
    assert await client.reader.read() == b"last words"
    await eventually(lambda: proxy.connections == 0)


async def test_a_delay_applies_to_all_bytes_and_preserves_their_order(connect: Connect, proxy: Proxy) -> None:
    client = await connect(proxy)
    loop = asyncio.get_running_loop()
    proxy.delay = 0.1
    started = loop.time()
    client.writer.write(b"one ")
    await eventually(lambda: loop.time() - started > 0.03)
    proxy.delay = 0.0
    assert await client.echo(b"two") == b"one"
    assert loop.time() - started >= 0.1
    assert await client.reader.readexactly(4) == b" two"


async def test_a_reset_breaks_one_connection_or_all(connect: Connect, proxy: Proxy) -> None:
    clients = [await connect(proxy) for _ in range(3)]
    for client in clients:
        await client.echo(b"hello")
    assert proxy.reset(random.Random(1)) == 1
    await eventually(lambda: proxy.connections == 2)
    assert proxy.reset() == 2
    for client in clients:
        with pytest.raises(ConnectionResetError):
            await client.reader.readexactly(1)
    assert await (await connect(proxy)).echo(b"again") == b"again"


async def test_while_it_refuses_nobody_gets_through(connect: Connect, proxy: Proxy) -> None:
    proxy.refuse(on=True)
    refused = await connect(proxy)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError, BrokenPipeError)):
        await refused.echo(b"hello")
    proxy.refuse(on=False)
    assert await (await connect(proxy)).echo(b"hello") == b"hello"


async def test_a_stall_delivers_everything_afterwards(connect: Connect, proxy: Proxy) -> None:
    client = await connect(proxy)
    await client.echo(b"before")
    proxy.stall(on=True)
    newcomer = await connect(proxy)
    answers = [asyncio.create_task(each.echo(b"during")) for each in (client, newcomer)]
    done, _ = await asyncio.wait(answers, timeout=0.1)
    assert not done
    proxy.stall(on=False)
    assert await asyncio.gather(*answers) == [b"during", b"during"]


async def test_one_connection_stalls_and_the_others_go_on(connect: Connect, proxy: Proxy) -> None:
    clients = [await connect(proxy) for _ in range(4)]
    for client in clients:
        await client.echo(b"before")
    proxy.stall(on=True, draw=random.Random(1))
    answers = [asyncio.create_task(client.echo(b"during")) for client in clients]
    await eventually(lambda: sum(answer.done() for answer in answers) == 3)
    proxy.stall(on=False)
    assert await asyncio.gather(*answers) == [b"during"] * 4


async def test_a_server_that_is_away_resets(connect: Connect, proxy: Proxy, unused_tcp_port: int) -> None:
    async with Proxy("nobody there", ("127.0.0.1", unused_tcp_port)) as lonely:
        client = await connect(lonely)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.echo(b"hello")
