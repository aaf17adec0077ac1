"""What anybody may try, signed in or not: nothing grows by it, and nothing is logged as a bug."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from parley.contracts import subjects
from parley.contracts.frames import Snapshot
from parley.contracts.ids import new_id
from parley.runtime.nats import connect as nats_connect
from parley.runtime.nats.connect import wait_until_processed
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.ports import LOOPBACK, free_port
from parley_cli.embedded.server import EmbeddedServer
from tests.integration.push.backend import Backend, backend_on
from tests.integration.push.conftest import Describe, describe_on, url_of
from tests.integration.push.reader import DEADLINE, WebReader, reading, ticket
from tests.integration.push.test_bad_input import auth, code_after
from tests.integration.push.test_slow import resident
from tests.integration.push.test_websocket import HANDSHAKE, masked
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually

UNMASKED = b"\x81\x05hello"
PLAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Watched:
    """A NATS whose subscriptions can be counted."""

    def __init__(self, server: EmbeddedServer, monitor: int) -> None:
        self.url = server.url
        self._monitor = monitor

    def subscriptions(self, name: str = "push") -> int:
        """How many the clients of this name have."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._monitor}/connz", timeout=5) as answer:
            return sum(one["subscriptions"] for one in json.load(answer)["connections"] if one.get("name") == name)


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    monitor = free_port()
    with NatsServer(tmp_path_factory.mktemp("nats"), monitor_port=monitor) as server:
        yield Watched(server, monitor)


@pytest.fixture
async def watched_backend(nats: Watched) -> AsyncIterator[Backend]:
    async with backend_on(nats.url) as backend:
        yield backend


@pytest.fixture
def on_watched(nats: Watched) -> Describe:
    return describe_on(nats.url)


async def refused(reader: WebReader, chats: list[str]) -> None:
    for chat in chats:
        await reader.send(type="watch", chat_id=chat)
    for chat in chats:
        await eventually(
            lambda: any(getattr(frame, "chat_id", None) == chat for frame in reader.frames),  # noqa: B023
            deadline=DEADLINE,
        )
    assert {getattr(frame, "code", "") for frame in reader.frames} == {"not_found"}
    reader.frames.clear()


async def test_watches_of_what_does_not_exist_leave_nothing(
    nats: Watched, watched_backend: Backend, on_watched: Describe
) -> None:
    """4,000 of them: of one chat again and again, and of a new one each. Then that chat is created."""
    async with on_watched(FRAMES_BURST="5000") as push, reading(url_of(push)) as reader:
        at_rest = 4  # used tickets, revocations, prompts that were not stored, and the inbox for replies
        chat = new_id()
        await refused(reader, [new_id() for _ in range(50)])
        before = resident(push)
        for _ in range(40):
            for _ in range(49):
                await reader.send(type="watch", chat_id=chat)  # each takes the place of the one before
            await refused(reader, [chat])
            await refused(reader, [new_id() for _ in range(50)])
        await eventually(lambda: nats.subscriptions() == at_rest)
        await eventually(lambda: "parley_push_rooms 0.0" in push.get("/metrics")[1])
        assert resident(push) - before < 8_000_000
        watched_backend.chats[chat] = watched_backend.chats[watched_backend.new_chat("ann")]
        watched_backend.chats[chat].chat_id = chat
        client = await reader.follow(chat)
        await watched_backend.answer(chat, 20)
        await eventually(lambda: client.version == watched_backend.chats[chat].version)
        metrics = push.get("/metrics")[1]
        assert "parley_push_deltas_received_total 20.0" in metrics, "each delta is taken in once"
        assert nats.subscriptions() == at_rest + 1


async def test_two_hundred_invented_cursors_hold_nothing(backend: Backend, describe: Describe) -> None:
    """Of a chat with a page of 800 KB."""
    chat = backend.new_chat("ann")
    store = backend.chats[chat]
    for _ in range(4):
        await backend.answer(chat, 1)
    for message in list(store.messages.values()):
        store._edit(message.id, "complete", "x" * 100_000)
    async with describe(FRAMES_BURST="5000") as push, reading(url_of(push)) as reader:
        client = await reader.follow(chat)
        assert isinstance(client.frames[0], Snapshot)
        before = resident(push)
        for number in range(200):
            cursor = {"version": 0, "generation_id": f"{number:064}", "attempt": number, "seq": number}
            client.version = -1
            seen = len(client.frames)
            await reader.send(type="unwatch", chat_id=chat)
            reader.clients[chat] = type(client)()
            reader.clients[chat].version = 0
            await reader.send(type="watch", chat_id=chat, after=cursor)
            await eventually(lambda: reader.clients[chat].frames)
            assert len(client.frames) == seen
        assert resident(push) - before < 16_000_000


@pytest.mark.parametrize(
    "segments",
    [
        [HANDSHAKE + masked(8, struct.pack("!H", 1000))],
        [HANDSHAKE + UNMASKED],
        [HANDSHAKE + masked(1, b"hello")],
        [HANDSHAKE + HANDSHAKE],
        [HANDSHAKE[:-1], HANDSHAKE[-1:] + UNMASKED],
        [PLAIN + PLAIN],
        [PLAIN, PLAIN],
        [PLAIN + UNMASKED],
        [b"GET /" + b"x" * 20_000, b"x" * 20_000],
        [b"GET / HTTP/1.1\r\nX: " + b"x" * 9_000 + b"\r\n\r\n", b"more"],
        [b"GET / HTTP/1.1\n\n", b"more"],
        [b"GET / HTTP/1.0\r\n\r\n" * 2],
        [b"POST /ws HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" * 2],
        [b"POST /ws HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        [b"\x00" * 40_000],
        [b"\r\n\r\n", b"\r\n\r\n"],
    ],
)
@pytest.mark.parametrize("ends", ["closes", "resets", "waits"])
async def test_a_handshake_may_be_broken_in_any_way(push: ServiceProcess, segments: list[bytes], ends: str) -> None:
    """The process is the module's: its end fails the test when there is a traceback in its log."""
    reader, writer = await asyncio.open_connection(LOOPBACK, int(push.environment["PORT"]))
    for segment in segments:
        writer.write(segment)
        await writer.drain()
        await asyncio.sleep(0.01)  # one segment each
    if ends == "resets":
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return
    if ends == "closes":
        writer.write_eof()
    try:
        async with asyncio.timeout(DEADLINE):
            await reader.read()
    except ConnectionError:
        pass
    writer.close()


async def test_a_socket_that_sends_and_never_reads_is_dropped(describe: Describe) -> None:
    async with describe(FRAMES_PER_SECOND="100000", FRAMES_BURST="100000") as push:
        before = resident(push)
        reader, writer = await asyncio.open_connection(LOOPBACK, int(push.environment["PORT"]), limit=1)
        writer.write(HANDSHAKE + masked(1, json.dumps({"type": "auth", "ticket": ticket()}).encode()))
        pings = masked(9, b"x" * 125) * 100
        ends = time.monotonic() + DEADLINE
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < ends:
                writer.write(pings)
                await writer.drain()
        assert time.monotonic() < ends, "it was dropped"
        assert resident(push) - before < 8_000_000
        assert not reader.at_eof()


async def test_a_used_ticket_opens_no_second_socket_on_any_process(
    backend: Backend, describe: Describe, module_nats_url: str
) -> None:
    one = auth(ticket())
    nc = await nats_connect.connect(module_nats_url, name="test")
    used = await nc.subscribe(subjects.CTL_TICKET_USED)
    await wait_until_processed(nc)
    async with (
        describe() as here,
        describe() as there,
        connect(url_of(here), proxy=None) as ws,
        reading(url_of(there)) as reader,
    ):
        await ws.send(one)
        assert json.loads(await ws.recv())["type"] == "ready"
        assert await code_after(url_of(here), one) == 4002
        for _ in (reader, ws):
            await used.next_msg(timeout=DEADLINE)
        # What the server sends to the other process after that comes after that.
        await reader.follow(backend.new_chat("ann"))
        assert await code_after(url_of(there), one) == 4002
    await nc.close()


async def status_of(url: str, **headers: str) -> int:
    try:
        async with connect(url, proxy=None, additional_headers=headers):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


async def test_more_sockets_than_the_process_takes_are_sent_away(describe: Describe) -> None:
    async with describe(MAX_SOCKETS="3") as push, AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(reading(url_of(push)))
        assert await status_of(url_of(push)) == 503
        await stack.aclose()
        await eventually(lambda: "parley_push_sockets 0.0" in push.get("/metrics")[1])
        assert await status_of(url_of(push)) == 101


async def test_the_sockets_of_one_address_are_counted_as_the_proxy_says(describe: Describe) -> None:
    async with describe(MAX_SOCKETS_PER_ADDRESS="2", TRUSTED_PROXIES="127.0.0.0/8") as push:
        url = url_of(push)
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(
                    connect(url, proxy=None, additional_headers={"X-Forwarded-For": "9.9.9.9, 203.0.113.7"})
                )
            assert await status_of(url, **{"X-Forwarded-For": "8.8.8.8, 203.0.113.7"}) == 429
            assert await status_of(url, **{"X-Forwarded-For": "203.0.113.8"}) == 101
            assert await status_of(url) == 101, "the proxy's own"
        await eventually(lambda: "parley_push_sockets 0.0" in push.get("/metrics")[1])
        assert await status_of(url, **{"X-Forwarded-For": "203.0.113.7"}) == 101


async def test_silent_connections_of_one_address_are_bounded(describe: Describe) -> None:
    """Nobody has said a word yet; what is beyond the limit is dropped."""
    async with describe(MAX_SOCKETS_PER_ADDRESS="5", TRUSTED_PROXIES="10.0.0.1", AUTH_TIMEOUT="30") as push:
        connections = [await asyncio.open_connection(LOOPBACK, int(push.environment["PORT"])) for _ in range(300)]
        await eventually(lambda: "parley_push_sockets 105.0" in push.get("/metrics")[1])
        assert await status_of_raw(push) == b""
        for _, writer in connections:
            writer.transport.abort()
        await eventually(lambda: "parley_push_sockets 0.0" in push.get("/metrics")[1])
        assert (await status_of_raw(push)).startswith(b"HTTP/1.1 101")


async def status_of_raw(push: ServiceProcess) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, int(push.environment["PORT"]))
    try:
        writer.write(HANDSHAKE)
        async with asyncio.timeout(DEADLINE):
            return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


async def test_a_user_watches_so_many_chats_over_all_sockets(backend: Backend, describe: Describe) -> None:
    chats = [backend.new_chat("ann") for _ in range(4)]
    async with describe(MAX_CHATS_PER_USER="3") as push, reading(url_of(push)) as one, reading(url_of(push)) as other:
        await one.follow(chats[0])
        await one.follow(chats[1])
        await other.follow(chats[0])
        client = await other.watch(chats[3])
        await eventually(lambda: client.refused == "too_many")
        await one.send(type="unwatch", chat_id=chats[1])
        again = await other.follow(chats[3])
        assert again.frames
