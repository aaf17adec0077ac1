"""What the gateway caches of identities goes when they end, also when the event of that is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from nats.aio.msg import Msg

from gateway.auth import identities as module
from gateway.auth.identities import Identities
from gateway.bus.store_client import StoreClient
from gateway.errors import Forbidden, NotAuthenticated, NotFound, Unavailable
from parley.contracts import rpc
from parley.contracts.access.identity import (
    External,
    FindRevoked,
    Principal,
    ResolveSession,
    Revoked,
    StartSession,
    digest,
)
from parley.contracts.ids import new_id
from parley.runtime.tasks import end
from tests.support.chat_store.identities import FakeIdentities
from tests.support.waiting import eventually


class Store:
    """chat-store, whose events are what a test makes of them.

    Attributes:
        before_reply: Called when a reply is ready and not received yet.
    """

    def __init__(self) -> None:
        self.known = FakeIdentities()
        self.asked: list[Any] = []
        self.away = False
        self.before_reply: Callable[[], object] = lambda: None

    async def ask(self, request: Any) -> Any:
        self.asked.append(request)
        if self.away:
            raise Unavailable("away")
        reply = self.known.reply(request)
        self.before_reply()
        if isinstance(reply, rpc.RpcError):
            raise {"not_found": NotFound, "forbidden": Forbidden}[reply.code](reply.message)
        return reply

    def session(self) -> str:
        """Start a guest's session; return its secret."""
        secret, user_id = new_id(), new_id()
        self.known.reply(
            StartSession(
                session_id=new_id(),
                secret_digest=digest(secret),
                new_user_id=user_id,
                method="guest",
                idle_seconds=3600,
                absolute_seconds=3600,
            )
        )
        return secret

    def end(self, secret: str) -> Revoked:
        """End a session; return the event."""
        ended = self.known.sessions.pop(digest(secret))
        return Revoked(user_id=ended.user.id, session_id=ended.session_id)

    def count(self, kind: type) -> int:
        return sum(isinstance(request, kind) for request in self.asked)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def identities(store: Store) -> Identities:
    return Identities(cast(StoreClient, store))


@asynccontextmanager
async def watching(identities: Identities) -> AsyncIterator[None]:
    task = asyncio.create_task(identities.watch())
    try:
        yield
    finally:
        await end(task)


def event(payload: bytes) -> Msg:
    return cast(Msg, SimpleNamespace(data=payload))


async def is_refused(asking: Awaitable[Principal]) -> bool:
    try:
        await asking
    except NotAuthenticated:
        return True
    return False


async def test_a_principal_is_cached_until_an_event_revokes_it(store: Store, identities: Identities) -> None:
    secret, other = store.session(), store.session()
    for _ in range(3):
        await identities.by_session_secret(secret)
        await identities.by_session_secret(other)
    assert store.count(ResolveSession) == 2
    await identities.on_revoked(event(msgspec.json.encode(store.end(secret))))
    assert await is_refused(identities.by_session_secret(secret))
    await identities.by_session_secret(other)
    assert store.count(ResolveSession) == 3


async def test_a_revocation_whose_event_is_lost_is_found_by_the_next_check(
    store: Store, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.02)
    secret, other = store.session(), store.session()
    await identities.by_session_secret(secret)
    await identities.by_session_secret(other)
    store.end(secret)
    async with watching(identities):
        await eventually(lambda: len(identities) == 1)
    store.away = True
    with pytest.raises(Unavailable):
        await identities.by_session_secret(secret)
    await identities.by_session_secret(other)


async def test_a_disabled_user_without_a_session_is_found_too(store: Store, identities: Identities) -> None:
    external = External(issuer="https://id.example.com", subject="ada")
    principal = await identities.by_external("token 1", external, None)
    assert (principal.session_id, principal.key_id) == (None, None)
    store.known.change(principal.user.id, disabled=True)
    async with watching(identities):
        identities.on_reconnected()
        await eventually(lambda: len(identities) == 0)
    with pytest.raises(Forbidden):
        await identities.by_external("token 1", external, None)


async def test_after_a_reconnect_what_has_ended_is_admitted_by_no_cache(store: Store, identities: Identities) -> None:
    secret, other = store.session(), store.session()
    await identities.by_session_secret(secret)
    await identities.by_session_secret(other)
    store.end(secret)
    async with watching(identities):
        identities.on_reconnected()
        await eventually(lambda: store.count(FindRevoked) == 1)
        await eventually(lambda: len(identities) == 1)
        store.away = True
        with pytest.raises(Unavailable):
            await identities.by_session_secret(secret)
        # Others go on while chat-store is away, and are asked for again at each use.
        await identities.by_session_secret(other)
    assert store.count(ResolveSession) == 4


async def test_after_a_reconnect_a_new_role_counts_at_the_next_use(store: Store, identities: Identities) -> None:
    secret = store.session()
    user_id = (await identities.by_session_secret(secret)).user.id
    store.known.change(user_id, role="administrator")
    assert (await identities.by_session_secret(secret)).user.role == "user"
    identities.on_reconnected()
    assert (await identities.by_session_secret(secret)).user.role == "administrator"


@pytest.mark.parametrize("how", ["by an event", "while NATS was away"])
async def test_a_reply_from_before_a_revocation_is_not_cached(store: Store, identities: Identities, how: str) -> None:
    secret = store.session()

    def overtaken() -> None:
        revoked = store.end(secret)
        if how == "by an event":
            identities.revoke(revoked)
        else:
            identities.on_reconnected()

    store.before_reply = overtaken
    await identities.by_session_secret(secret)
    store.before_reply = lambda: None
    assert await is_refused(identities.by_session_secret(secret))


async def test_an_event_that_does_not_decode_has_everything_checked(store: Store, identities: Identities) -> None:
    secret = store.session()
    await identities.by_session_secret(secret)
    store.end(secret)
    async with watching(identities):
        await identities.on_revoked(event(b"nonsense"))
        await eventually(lambda: len(identities) == 0)


async def test_while_chat_store_is_away_nothing_is_dropped_and_the_check_is_repeated(
    store: Store, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    secret = store.session()
    await identities.by_session_secret(secret)
    store.end(secret)
    store.away = True
    async with watching(identities):
        identities.on_reconnected()
        await eventually(lambda: store.count(FindRevoked) >= 3)
        assert len(identities) == 1
        store.away = False
        await eventually(lambda: len(identities) == 0)


async def test_many_principals_are_checked_in_batches_that_fit_a_request(store: Store, identities: Identities) -> None:
    secrets = [store.session() for _ in range(2500)]
    for secret in secrets:
        await identities.by_session_secret(secret)
    store.end(secrets[-1])
    async with watching(identities):
        identities.on_reconnected()
        await eventually(lambda: len(identities) == 2499)
    asked = [request for request in store.asked if isinstance(request, FindRevoked)]
    assert [len(request.session_ids) for request in asked] == [1000, 1000, 500]


async def test_what_is_too_old_to_be_used_is_dropped_by_the_next_check_and_not_asked_about(
    store: Store, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, time=time.time))
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.02)
    for _ in range(3):
        await identities.by_session_secret(store.session())
    now += module.STALE_SECONDS
    await identities.by_session_secret(store.session())
    async with watching(identities):
        await eventually(lambda: store.count(FindRevoked) >= 1)
    asked = [request for request in store.asked if isinstance(request, FindRevoked)]
    assert {len(request.session_ids) for request in asked} == {1}
    assert len(identities) == 1
