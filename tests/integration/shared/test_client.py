"""The NATS client comes back, whatever its servers do, and leaves no connection open."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from parley.contracts.streams import CHAT_STORE_PROMPTS
from parley.runtime.nats.client import ReconnectingClient
from parley.runtime.nats.connect import connect, connect_options
from parley.runtime.nats.pull import PullConsumer
from parley.runtime.tasks import end
from parley_cli.embedded.nats import NatsServer
from tests.support.pausing import pause
from tests.support.waiting import eventually

INFO = b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576,"headers":true}\r\n'


@asynccontextmanager
async def connected(*urls: str, **options: Any) -> AsyncIterator[ReconnectingClient]:
    """A client that knows several servers and looks first at the first."""
    client = ReconnectingClient()
    await client.connect(
        **connect_options(",".join(urls), "test") | {"dont_randomize": True, "reconnect_time_wait": 0.05} | options
    )
    try:
        yield client
    finally:
        await client.close()


def _port(client: ReconnectingClient) -> int | None:
    """Of the server that it is connected to."""
    return None if client.connected_url is None else client.connected_url.port


async def test_a_server_that_is_gone_without_a_word_is_left_for_another(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    with NatsServer(tmp_path / "other") as other:
        async with connected(
            nats_server.url, other.url, ping_interval=0.2, max_outstanding_pings=2, connect_timeout=1
        ) as client:
            assert _port(client) == nats_server.port
            pause(nats_server.process.pid)
            try:
                # More than the buffers of two kernels hold: closing in good order would wait until it is taken.
                assert client._transport is not None
                for _ in range(32):
                    client._transport.write(b"PUB nowhere 500000\r\n" + bytes(500_000) + b"\r\n")
                began = time.monotonic()
                await eventually(lambda: _port(client) == other.port, deadline=30, what="the other server")
                assert time.monotonic() - began < 20
                await client.flush()
            finally:
                nats_server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RuntimeError("unable to perform operation on <TCPTransport closed=True>"), id="uvloop's"),
        pytest.param(ValueError("odd"), id="one that nobody expects"),
    ],
)
async def test_a_try_to_reconnect_that_fails_oddly_is_not_the_last(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    write: Callable[[TcpTransport, bytes], None] = TcpTransport.write
    failures: list[bytes] = []

    def fail_once(transport: TcpTransport, payload: bytes) -> None:
        if payload.startswith(b"CONNECT") and not failures:
            failures.append(payload)
            raise error
        write(transport, payload)

    async with connected(nats_server.url) as client:
        monkeypatch.setattr(TcpTransport, "write", fail_once)
        await asyncio.to_thread(nats_server.kill)
        await asyncio.to_thread(nats_server.start)
        await eventually(lambda: bool(failures), deadline=30, what="a try that fails")
        await eventually(lambda: client.is_connected, deadline=30, what="another one")
        await client.flush()


async def test_a_request_that_is_cancelled_around_the_moment_of_its_reply_is_cancelled(nats_url: str) -> None:
    async with connected(nats_url) as client:

        async def answer(message: Msg) -> None:
            await message.respond(b"")

        await client.subscribe("question", cb=answer)
        await client.flush()
        for turns in range(8):
            asked = asyncio.create_task(_cancelled_after_reply(client, turns))
            await asyncio.wait([asked], timeout=10)
            assert asked.cancelled(), f"{turns} turns of the event loop after the reply"


async def _cancelled_after_reply(client: ReconnectingClient, turns: int) -> None:
    """Send a request, and be cancelled the given number of turns of the event loop after the reply has arrived."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def cancel(turns: int) -> None:
        if turns:
            loop.call_soon(cancel, turns - 1)
        else:
            task.cancel()

    class CancelsOnArrival(Msg):
        def __init__(self, *arguments: Any, **fields: Any) -> None:
            super().__init__(*arguments, **fields)
            if self.subject != "question":
                cancel(turns)

    client.msg_class = CancelsOnArrival
    await client.request("question", b"", timeout=10)
    await asyncio.Event().wait()


@asynccontextmanager
async def listening(serve: Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    """A server that does ``serve`` with each connection, given its number; its URL."""
    tasks: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(serve(len(tasks) + 1, reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_connect_that_is_given_up_ends_its_connection() -> None:
    accepted, ended = asyncio.Event(), asyncio.Event()

    async def say_nothing(_number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await _until_end(reader, writer)
        ended.set()

    async with listening(say_nothing) as url:
        connecting = asyncio.create_task(connect(url, name="test"))
        await asyncio.wait_for(accepted.wait(), 10)
        connecting.cancel()
        await asyncio.wait([connecting])
        await asyncio.wait_for(ended.wait(), 10)


async def test_a_server_that_refuses_when_it_is_back_is_left_with_no_open_connection() -> None:
    ended: list[int] = []

    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        await reader.readuntil(b"PING\r\n")
        refuses = 1 < number < 4
        writer.write(b"-ERR 'Authorization Violation'\r\n" if refuses else b"PONG\r\n")
        if number == 1:
            writer.close()
        await _until_end(reader, writer)
        ended.append(number)

    async with listening(serve) as url, connected(url) as client:
        await eventually(lambda: client.stats["reconnects"] == 1, deadline=30, what="the fourth try")
        await eventually(lambda: sorted(ended) == [1, 2, 3], deadline=10, what="the end of the others")


async def _until_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read until the other side has ended the connection, however."""
    try:
        while await reader.read(65536):
            pass
    except OSError:
        pass
    finally:
        writer.close()


async def test_a_consumer_that_is_closed_while_the_server_is_away_leaves_no_subscription(
    nats_server: NatsServer,
) -> None:
    async with connected(nats_server.url) as client:
        before = set(client._subs)
        consumer = PullConsumer(client, CHAT_STORE_PROMPTS)
        waiting = asyncio.create_task(consumer.next())
        await eventually(lambda: set(client._subs) > before)
        await end(waiting)
        nats_server.kill()
        await eventually(lambda: not client.is_connected)
        await consumer.close()
        assert set(client._subs) == before


async def test_a_cancellation_in_the_moment_of_a_refused_connection_ends_the_reconnecting(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[asyncio.Future[None]] = []

    async def refused(*_arguments: object, **_options: object) -> None:
        attempts.append(asyncio.get_running_loop().create_future())
        await asyncio.wait_for(attempts[-1], 30)

    async with connected(nats_server.url) as client:
        monkeypatch.setattr(TcpTransport, "connect", refused)
        nats_server.kill()
        await eventually(lambda: attempts)
        # Until Python 3.12, wait_for loses the cancellation then, and the library tries again.
        attempts[-1].set_exception(ConnectionRefusedError())
        assert client._reconnection_task is not None
        client._reconnection_task.cancel()
        await eventually(client._reconnection_task.done)
