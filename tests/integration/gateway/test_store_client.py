"""Requests to chat-store with the access cache."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from gateway.bus.access_cache import FRESH_SECONDS, AccessCache
from gateway.bus.connection import Bus
from gateway.bus.store_client import StoreClient
from gateway.errors import NotFound, Unavailable
from parley.contracts import rpc
from parley.contracts.ids import new_id
from tests.integration.gateway.conftest import Running, models_on
from tests.support.chat_store.fake import FakeStore
from tests.support.waiting import eventually

USER, CHAT = new_id(), new_id()


@pytest.fixture
def access() -> AccessCache:
    """Remembers a right that has to be confirmed."""
    access = AccessCache()
    access.add(USER, CHAT, time.monotonic() - FRESH_SECONDS, "read")
    return access


@pytest.fixture
async def asking(gateway: Running, module_nats_url: str, access: AccessCache) -> AsyncIterator[StoreClient]:
    bus = Bus(module_nats_url, "test")
    running = asyncio.create_task(bus.run())
    await eventually(lambda: bus.is_up)
    yield StoreClient(bus, access, 1.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_stale_entry_is_confirmed(asking: StoreClient, nc: Client) -> None:
    async with FakeStore(nc) as store:
        store.chats.create_for(USER, CHAT)
        for _ in range(3):
            await asking.require_access(USER, CHAT)
        assert store.asked["check_access"] == 1


async def test_a_stale_entry_is_used_while_there_is_no_responder(asking: StoreClient) -> None:
    await asking.require_access(USER, CHAT)
    with pytest.raises(Unavailable):
        await asking.require_access(USER, new_id())


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_stale_entry_is_used_while_chat_store_hangs_or_has_no_database(
    hangs: bool, asking: StoreClient, nc: Client
) -> None:
    async with FakeStore(nc) as store:
        store.silent = hangs
        store.refusals["check_access"] = rpc.RpcError(code="unavailable", message="Postgres is away.")
        await asking.require_access(USER, CHAT)


async def test_an_entry_is_evicted_when_chat_store_refuses(asking: StoreClient, nc: Client) -> None:
    async def refused() -> bool:
        try:
            await asking.require_access(USER, CHAT)
        except NotFound:
            return True
        return False

    async with FakeStore(nc):
        # On a machine that is busy the answer may come too late, and the old one be good enough once more.
        await eventually(refused)
    with pytest.raises(Unavailable):
        await asking.require_access(USER, CHAT)


async def test_a_stale_entry_is_used_without_nats(access: AccessCache) -> None:
    unconnected = StoreClient(Bus("nats://127.0.0.1:1", "test"), access, 1.0)
    await unconnected.require_access(USER, CHAT)


async def test_a_cached_list_of_models_is_used_while_no_worker_replies(
    asking: StoreClient, nc: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable):
        await asking.list_models()
    async with models_on(nc):
        assert (await asking.list_models()).default == "demo"
    monkeypatch.setattr("gateway.bus.store_client._MODELS_FRESH_SECONDS", 0.0)
    assert (await asking.list_models()).default == "demo"
