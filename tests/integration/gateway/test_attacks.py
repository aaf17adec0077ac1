"""Exhausting the gateway without a session: each attack is bounded, and the gateway recovers."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest

from parley_cli.embedded.ports import free_port
from tests.integration.gateway.conftest import environment, provisioned
from tests.support.chat_store.fake import FakeStore
from tests.support.pausing import pause
from tests.support.service import ServiceProcess, run_service
from tests.support.waiting import eventually

PER_ADDRESS = 40
ALL = 60
HEAD_SECONDS = 1.0
GUESTS = 20

GET = b"GET /healthz HTTP/1.1\r\nHost: chat.test\r\n\r\n"
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def target(module_nats_url: str) -> Iterator[ServiceProcess]:
    provisioned(module_nats_url)
    limits = {
        "MAX_CONNECTIONS": str(ALL),
        "MAX_CONNECTIONS_PER_ADDRESS": str(PER_ADDRESS),
        "HEAD_SECONDS": str(HEAD_SECONDS),
        "KEEP_ALIVE_SECONDS": "2",
        "WRITE_SECONDS": "2",
        # Another address of this machine stands for a proxy.
        "TRUSTED_PROXIES": "127.0.0.9/32, 10.0.0.0/8",
        "GUESTS_BURST": str(GUESTS),
        "GUESTS_PER_SECOND": "0.001",
        "LOG_LEVEL": "INFO",
    }
    with run_service("gateway", environment(module_nats_url, free_port(), **limits)) as process:
        process.get("/healthz")
        yield process
        # The end looks for tracebacks in the log.
        assert "Exception" not in process.log


@pytest.fixture(autouse=True)
async def unharmed(target: ServiceProcess, store: FakeStore) -> AsyncIterator[None]:
    """After each attack: all connections are gone, memory is where it was, nothing was a 5xx."""
    before, failed = memory(target), metric(target, 'status="5')
    yield
    await eventually(lambda: connections(target) <= 1, deadline=20, what="the connections being over")
    assert memory(target) - before < 24 * MEGABYTE
    assert metric(target, 'status="5') == failed
    assert (await answer(target, GET)).startswith(b"HTTP/1.1 200")


def memory(process: ServiceProcess) -> int:
    return int(psutil.Process(process.pid).memory_info().rss)


def cpu_seconds(process: ServiceProcess) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def metric(process: ServiceProcess, name: str) -> float:
    _, text = process.get("/metrics")
    lines = [line for line in text.splitlines() if name in line and "_created" not in line and line[0] != "#"]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def connections(process: ServiceProcess) -> float:
    return metric(process, "parley_gateway_connections ")


def ended(process: ServiceProcess, reason: str) -> float:
    return metric(process, f'connections_ended_total{{reason="{reason}"}}')


class Line:
    """A connection whose client decides when to read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes, times: int = 1, *, seconds: float = 10.0) -> int:
        """Send again and again until the other side takes no more; return how much was written."""
        sent = 0
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(seconds):
                for _ in range(times):
                    self.writer.write(data)
                    sent += len(data)
                    await self.writer.drain()
        return sent

    async def read(self, *, seconds: float = 15.0) -> bytes:
        """All that comes until the other side closes."""
        got = b""
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionError):
                while data := await self.reader.read(65536):
                    got += data
        return got


@asynccontextmanager
async def line(process: ServiceProcess, *, source: str = "127.0.0.1", reading: bool = True) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", process.health_port, local_addr=(source, 0), limit=1024 if not reading else 2**20
    )
    if not reading:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


async def answer(process: ServiceProcess, request: bytes, *, source: str = "127.0.0.1") -> bytes:
    """The answer to one request, with its end: the connection is closed by whoever does it first."""
    async with line(process, source=source) as one:
        await one.send(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        return await one.read()


async def test_pipelined_requests_of_a_client_that_does_not_read_cost_no_memory(target: ServiceProcess) -> None:
    before = memory(target)
    async with contextlib.AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(line(target, reading=False)) for _ in range(4)]
        await asyncio.gather(*[one.send(GET * 2000, 200, seconds=1.5) for one in lines])
        assert memory(target) - before < 24 * MEGABYTE


async def test_pipelined_requests_are_all_answered_in_order(target: ServiceProcess) -> None:
    paths = [f"/v1/nothing-{number}" for number in range(300)]
    async with line(target) as one:
        await one.send("".join(f"GET {path} HTTP/1.1\r\nX-Request-Id: {path[4:]}\r\n\r\n" for path in paths).encode())
        await one.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        got = await one.read()
    ids = [part.partition(b"\r\n")[0].decode() for part in got.split(b"\r\nx-request-id: ")[1:]]
    assert ids[:-1] == [path[4:] for path in paths]
    assert got.endswith(b"ok\n")


async def test_bodies_before_other_requests_are_read_to_their_end(target: ServiceProcess) -> None:
    body = b'{"a":"' + b"x" * 200_000 + b'"}'
    post = b"POST /v1/session HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    async with line(target) as one:
        await one.send(post * 3 + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        got = await one.read()
    assert got.count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize(
    ("first", "more", "status"),
    [
        (b"GET / HTTP/1.1\r\nX-A: ", b"a" * 65536, b"431"),
        (b"GET / HTTP/1.1\r\n", b"X-A: bbbbbbbb\r\n" * 4000, b"431"),
        (b"GET / HTTP/1.1\r\n", b"X-A: b\r\n" * 101 + b"\r\n", b"431"),
        (b"GET /", b"a" * 65536, b"414"),
        (b"GET /?", b"a" * 9000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"", b"\r\n" * 32768, b"431"),
        (b"A" * 20, b"A" * 65536, b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x" * 65536, b"431"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", b"x" * 65536, b"431"),
    ],
    ids=["line", "headers", "count", "url", "query", "blank", "method", "chunk-extension", "trailer"],
)
async def test_a_head_without_an_end_is_refused_early(
    target: ServiceProcess, first: bytes, more: bytes, status: bytes
) -> None:
    async with line(target) as one:
        await one.send(first + more)
        got = await one.read()
    refusals = [part for part in got.split(b"HTTP/1.1 ")[1:] if part.startswith(status)]
    assert refusals, got[:200]
    assert b"application/problem+json" in refusals[0]


@pytest.mark.parametrize("piece", [b"a" * 65536, b"X-A: bbbbbbbb\r\n" * 4096], ids=["line", "headers"])
async def test_a_head_without_an_end_is_cut_off_at_its_timeout(target: ServiceProcess, piece: bytes) -> None:
    before = cpu_seconds(target)
    async with line(target) as one:
        await one.send(b"GET / HTTP/1.1\r\nX-A: b\r\n")
        assert await one.send(piece, 1000) < 60 * MEGABYTE
    assert cpu_seconds(target) - before < 1.0


async def test_texts_of_the_largest_size_are_accepted(target: ServiceProcess) -> None:
    request = b"GET /v1/config?q=%b HTTP/1.1\r\nHost: chat.test\r\nCookie: other=%b\r\n\r\n"
    got = await answer(target, request % (b"a" * 7000, b"b" * 16_000))
    assert got.startswith(b"HTTP/1.1 200")


async def test_silent_and_half_connections_are_closed(target: ServiceProcess) -> None:
    async with line(target) as silent, line(target) as half, line(target) as dripping:
        await half.send(b"GET /healthz HT")

        async def drip() -> None:
            for byte in GET * 3:
                await dripping.send(bytes((byte,)))
                await asyncio.sleep(HEAD_SECONDS / 10)

        drops = asyncio.create_task(drip())
        assert set(await asyncio.gather(silent.read(), half.read(), dripping.read())) == {b""}
        drops.cancel()


async def test_a_request_after_the_timeout_of_a_silent_connection_reads_an_end_and_no_reset(
    target: ServiceProcess,
) -> None:
    """As a client sees it that opens many connections at once and is slow to use them."""
    before = ended(target, "timeout")
    with socket.create_connection(("127.0.0.1", target.health_port), timeout=10) as late:
        await eventually(lambda: ended(target, "timeout") > before)
        late.sendall(GET)
        assert late.recv(1000) == b""


async def test_time_in_which_the_gateway_did_not_run_is_not_the_clients(target: ServiceProcess) -> None:
    async with line(target) as begun, line(target) as unused:
        await begun.send(GET[:10])
        # Its first bytes have been read, so both connections have a deadline.
        await eventually(lambda: connections(target) >= 2)
        pause(target.pid)
        stopped = time.monotonic()
        try:
            await begun.send(GET[10:])
            await unused.send(GET)
            await eventually(lambda: time.monotonic() > stopped + 3 * HEAD_SECONDS)
        finally:
            os.kill(target.pid, signal.SIGCONT)
        for one in (begun, unused):
            async with asyncio.timeout(10):
                assert (await one.reader.readline()).startswith(b"HTTP/1.1 200")


async def test_a_body_that_is_not_read_does_not_keep_a_connection_open(target: ServiceProcess) -> None:
    async with line(target) as one:
        await one.send(b"GET /healthz HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")

        async def drip() -> None:
            while True:
                await one.send(b"x")
                await asyncio.sleep(HEAD_SECONDS / 10)

        drops = asyncio.create_task(drip())
        got = await one.read()
        drops.cancel()
    assert got.startswith(b"HTTP/1.1 200")


async def test_a_client_that_reads_nothing_is_disconnected(target: ServiceProcess) -> None:
    before = ended(target, "timeout")
    async with line(target, reading=False) as one:
        await one.send(GET * 2000, 50, seconds=1)
        await eventually(lambda: ended(target, "timeout") > before, deadline=20)


async def test_connections_of_one_address_are_limited_and_others_are_served(target: ServiceProcess) -> None:
    async with contextlib.AsyncExitStack() as stack:
        flood = [await stack.enter_async_context(line(target)) for _ in range(PER_ADDRESS * 3)]
        got = await asyncio.gather(*[one.read() for one in flood[PER_ADDRESS:]])
        refused = [answer for answer in got if answer.startswith(b"HTTP/1.1 429")]
        assert len(refused) >= PER_ADDRESS
        head, _, body = refused[0].partition(b"\r\n\r\n")
        assert b"retry-after: 5" in head
        assert json.loads(body)["code"] == "too_many"
        assert (await answer(target, GET, source="127.0.0.2")).startswith(b"HTTP/1.1 200")


async def test_a_trusted_proxy_may_have_more(target: ServiceProcess) -> None:
    async with contextlib.AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(line(target, source="127.0.0.9")) for _ in range(PER_ADDRESS + 10)]
        await asyncio.gather(*[one.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) for one in lines])
        assert all(got.startswith(b"HTTP/1.1 200") for got in await asyncio.gather(*[one.read() for one in lines]))


async def test_at_the_limit_the_connection_that_is_idle_longest_is_closed(target: ServiceProcess) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for number in range(ALL + 20):
            await stack.enter_async_context(line(target, source=f"127.0.1.{number % 8 + 1}"))
        assert (await answer(target, GET, source="127.0.0.3")).startswith(b"HTTP/1.1 200")
        assert connections(target) <= ALL


async def test_invalid_data_after_a_request_is_refused_after_its_response(target: ServiceProcess) -> None:
    async with line(target) as one:
        await one.send(GET + GET + b"\x16\x03\x01 no http\r\n\r\n")
        got = await one.read()
    statuses = [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"400"]


async def test_a_broken_body_ends_its_own_request_alone(target: ServiceProcess) -> None:
    post = b"POST /v1/session HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n"
    for before in (0, 1, 3):
        async with line(target) as one:
            await one.send(GET * before + post)
            got = await one.read()
        assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"200"] * before + [b"400"]


async def test_a_trailer_does_not_become_a_header(target: ServiceProcess) -> None:
    request = (
        b"POST /v1/session HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer forged\r\n\r\n"
    )
    async with line(target) as one:
        await one.send(request)
        assert (await one.read()).startswith(b"HTTP/1.1 200")


async def test_an_unsupported_upgrade_is_handled_as_a_request(target: ServiceProcess) -> None:
    async with line(target) as one:
        await one.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n") + GET)
        got = await one.read()
    assert got.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in got


async def test_http_1_0_gets_no_chunks(target: ServiceProcess) -> None:
    async with line(target) as one:
        await one.send(b"GET /v1/config HTTP/1.0\r\nHost: chat.test\r\n\r\n")
        got = await one.read()
    assert got.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" not in got
    async with httpx.AsyncClient(base_url=target.health_url, trust_env=False) as http:
        assert (await http.get("/v1/config")).status_code == 200


NEW_GUEST = b"POST /v1/session HTTP/1.1\r\nHost: chat.test\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"


async def new_guests(process: ServiceProcess, count: int, forwarded: str, *, source: str) -> int:
    """Ask for ``count`` new guests, each with another number in ``forwarded``; return how many were let in."""
    async with line(process, source=source) as one:
        for number in range(count):
            header = f"X-Forwarded-For: {forwarded.format(number)}\r\n\r\n{{}}".encode()
            await one.send(NEW_GUEST + header)
        await one.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        got = await one.read()
    assert got.count(b"HTTP/1.1 ") == count + 1
    return got.count(b"HTTP/1.1 200") - 1


@pytest.mark.parametrize(
    ("forwarded", "source"),
    [
        ("198.51.100.{}", "127.0.0.4"),
        ("198.51.100.{}, 192.0.2.1", "127.0.0.9"),
        ("198.51.100.{}, 192.0.2.2, 10.0.0.7", "127.0.0.9"),
        ("2001:db8::{}", "127.0.0.9"),
    ],
    ids=["not a proxy", "before the client", "before a proxy", "one network of IPv6"],
)
async def test_a_forged_client_address_does_not_allow_more_guests(
    target: ServiceProcess, forwarded: str, source: str
) -> None:
    assert await new_guests(target, GUESTS + 30, forwarded, source=source) == GUESTS


async def test_clients_behind_a_trusted_proxy_are_counted_each(target: ServiceProcess) -> None:
    assert await new_guests(target, GUESTS + 30, "192.0.2.{}", source="127.0.0.9") >= GUESTS + 20
