"""The request handlers as a FastStream application: every request has one, and every error becomes a reply."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar, cast

import asyncpg
import msgspec
import pytest
from faststream.nats import NatsBroker, NatsRouter, TestNatsBroker

from chat_store import app
from chat_store.errors import NotFound
from chat_store.rpc import routing
from chat_store.rpc.context import Store
from parley.contracts import rpc
from parley.contracts.access import identity

R = TypeVar("R")


def test_every_request_of_the_contracts_has_a_handler_and_no_other_has() -> None:
    broker = NatsBroker(routers=app.ROUTERS)
    subjects = [cast(Any, subscriber).subject.template for subscriber in broker.subscribers]
    assert sorted(subjects) == sorted(request.subject() for request in rpc.STORE_REQUESTS.values())


def test_no_request_with_a_verb_is_left_out() -> None:
    named = {
        value
        for module in (rpc, identity)
        for value in vars(module).values()
        if isinstance(value, type) and hasattr(value, "VERB")
    }
    assert named == set(rpc.STORE_REQUESTS.values())


class FakeStore:
    """What a handler gets: raises ``errors`` one after the other, then has a reply."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.calls = 0
        self.user_id = ""

    def read(self, request: rpc.GetUsage) -> list[Any]:
        self.calls += 1
        self.user_id = request.user_id
        if self.errors:
            raise self.errors.pop(0)
        return []


@pytest.fixture
def fake_store() -> FakeStore:
    return FakeStore()


@pytest.fixture
async def broker(fake_store: FakeStore) -> AsyncIterator[NatsBroker]:
    router = NatsRouter(middlewares=routing.MIDDLEWARES)

    @routing.handles(router, rpc.GetUsage)
    async def usage(request: rpc.GetUsage, store: Store) -> rpc.UsageReply:
        return rpc.UsageReply(items=cast(FakeStore, store).read(request))

    broker = NatsBroker(serializer=None, logger=None)
    broker.context.set_global("store", fake_store)
    broker.include_router(router)
    async with TestNatsBroker(broker) as testing:
        yield testing


async def ask(broker: NatsBroker, body: bytes | None = None) -> rpc.UsageReply | rpc.RpcError:
    request = rpc.GetUsage(user_id="ann")
    reply = await broker.request(msgspec.json.encode(request) if body is None else body, request.subject())
    return msgspec.json.decode(reply.body, type=rpc.UsageReply | rpc.RpcError)


async def test_a_handler_gets_the_decoded_request_and_the_context(broker: NatsBroker, fake_store: FakeStore) -> None:
    assert await ask(broker) == rpc.UsageReply(items=[])
    assert fake_store.calls == 1


async def test_a_nul_which_postgres_cannot_store_reaches_no_handler(broker: NatsBroker, fake_store: FakeStore) -> None:
    await ask(broker, msgspec.json.encode(rpc.GetUsage(user_id="a\x00b \\u0000")))
    assert fake_store.user_id == "a\ufffdb \\u0000", "a backslash and what follows is text"


async def test_a_request_that_does_not_decode_is_invalid(broker: NatsBroker, fake_store: FakeStore) -> None:
    for body in (b"{", b"{}", b'{"user_id": 1}', b"[" * 100_000):
        reply = await ask(broker, body)
        assert isinstance(reply, rpc.RpcError)
        assert reply.code == "invalid"
    assert fake_store.calls == 0


async def test_a_refusal_keeps_its_code_and_text(broker: NatsBroker, fake_store: FakeStore) -> None:
    fake_store.errors = [NotFound("There is no such chat.")]
    assert await ask(broker) == rpc.RpcError(code="not_found", message="There is no such chat.")


async def test_a_connection_that_postgres_has_closed_is_replaced_once(
    broker: NatsBroker, fake_store: FakeStore
) -> None:
    fake_store.errors = [asyncpg.InterfaceError("connection is closed")]
    assert await ask(broker) == rpc.UsageReply(items=[])
    assert fake_store.calls == 2


async def test_an_outage_of_postgres_is_unavailable(broker: NatsBroker, fake_store: FakeStore) -> None:
    fake_store.errors = [asyncpg.InterfaceError("connection is closed") for _ in range(2)]
    reply = await ask(broker)
    assert isinstance(reply, rpc.RpcError)
    assert (reply.code, reply.retry_after) == ("unavailable", 2.0)


async def test_any_other_error_is_internal_and_says_nothing_of_its_cause(
    broker: NatsBroker, fake_store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    fake_store.errors = [ValueError("a secret")]
    reply = await ask(broker)
    assert isinstance(reply, rpc.RpcError)
    assert reply.code == "internal"
    assert "secret" not in reply.message
    assert "a secret" in caplog.text


async def test_an_expired_request_is_not_carried_out(
    broker: NatsBroker, fake_store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "has_expired", lambda _: True)
    reply = await ask(broker)
    assert isinstance(reply, rpc.RpcError)
    assert reply.code == "unavailable"
    assert fake_store.calls == 0
