"""Leaving: readers are sent elsewhere, and the process ends well."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest

from parley_cli.embedded.ports import free_port
from tests.integration.push.backend import Backend
from tests.integration.push.conftest import Describe, url_of
from tests.integration.push.reader import reading
from tests.support.waiting import eventually


async def test_sigterm_sends_readers_elsewhere_and_ends_with_0(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann")
    async with describe(MAX_SOCKETS_PER_USER=1000) as push, AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(reading(url_of(push))) for _ in range(120)]
        for reader in readers:
            await reader.watch(chat)
        push.signal(signal.SIGTERM)
        codes = [await reader.wait_closed() for reader in readers]
        assert set(codes) == {4000}
        assert await asyncio.to_thread(push.wait, deadline=12) == 0


async def test_while_draining_nobody_is_let_in(backend: Backend, describe: Describe) -> None:
    async with describe(DRAIN_SECONDS=6) as push, reading(url_of(push)) as deaf:
        deaf.socket.protocol.send_frame = lambda frame: None  # type: ignore[method-assign]  # never says goodbye
        push.signal(signal.SIGTERM)
        await eventually(lambda: "draining" in push.get("/readyz")[1])
        with pytest.raises(OSError):
            async with reading(url_of(push)):
                pass
        assert await asyncio.to_thread(push.wait, deadline=12) == 0


async def test_processes_share_a_port(backend: Backend, describe: Describe) -> None:
    port = free_port()
    chat = backend.new_chat("ann")
    async with describe(PORT=port) as one, describe(PORT=port) as two, AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(reading(url_of(one))) for _ in range(40)]
        for reader in readers:
            await reader.follow(chat)
        assert all("parley_push_rooms 1.0" in push.get("/metrics")[1] for push in (one, two))
        await backend.answer(chat, 5)
        for reader in readers:
            client = reader.clients[chat]
            await eventually(lambda: client.version == backend.chats[chat].version)  # noqa: B023
    assert backend.asked["sync"] == 2
