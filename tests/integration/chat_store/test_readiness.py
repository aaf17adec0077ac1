"""What readiness guarantees to the senders of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from parley.contracts import rpc
from parley.runtime import tasks
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import StartStore

_SUBSCRIBES = b"SUB rpc.store."
_DELAY = 1.0


@asynccontextmanager
async def _slow_to_subscribe(nats_url: str) -> AsyncIterator[str]:
    """Yield the address of a network to nats-server on which subscriptions to requests take a second."""
    server_url = urlsplit(nats_url)
    links: list[asyncio.Task[None]] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if _SUBSCRIBES in data:
                    await asyncio.sleep(_DELAY)
                writer.write(data)
        finally:
            writer.transport.abort()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection(server_url.hostname, server_url.port)
        links.extend(asyncio.create_task(one) for one in (pass_on(reader, there), pass_on(back, writer)))

    async with await asyncio.start_server(link, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        yield f"nats://127.0.0.1:{port}"
        await tasks.end(*links)


async def test_once_it_is_ready_the_server_has_its_subscriptions(
    start_store: StartStore, neighbour: Neighbour, nats_url: str
) -> None:
    async with _slow_to_subscribe(nats_url) as url, start_store(NATS_URL=url):
        assert (await neighbour.ask(rpc.GetUsage(user_id="ann"))).items == []
