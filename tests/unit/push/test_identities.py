"""A connection is closed when the session, API key or user that it was opened with ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from parley.contracts.access.identity import FindRevoked, Revoked, RevokedReply
from parley.runtime.nats.errors import BusUnavailable
from parley.runtime.tasks import end
from push.bus.request_limiter import RequestLimiter
from push.transport.identities import Identities, Identity
from tests.support.waiting import eventually


class Connection:
    """A connection that leaves as soon as its session ends, as sockets and streams do."""

    def __init__(self, identities: Identities, identity: Identity) -> None:
        self._identities = identities
        self._identity = identity
        self.ended = 0
        identities.add(self, identity)

    def end_session(self) -> None:
        self.ended += 1
        self._identities.remove(self, self._identity.user_id)


class Store:
    """chat-store, which knows what is revoked."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.asked: list[FindRevoked] = []
        self.away = False
        self.before_reply: Callable[[], object] = lambda: None

    async def ask(self, request: Any, *, timeout: float, subject: str | None = None) -> Any:
        self.asked.append(request)
        if self.away:
            raise BusUnavailable("away")
        self.before_reply()
        return RevokedReply(
            session_ids=[one for one in request.session_ids if one in self.revoked],
            key_ids=[one for one in request.key_ids if one in self.revoked],
            user_ids=[one for one in request.user_ids if one in self.revoked],
        )


def identities_of(store: Store, *, period: float = 600.0, soon: float = 0.02) -> Identities:
    return Identities(RequestLimiter(store, 1), period=period, soon=soon)


@asynccontextmanager
async def watching(identities: Identities) -> AsyncIterator[None]:
    task = asyncio.create_task(identities.watch())
    try:
        yield
    finally:
        await end(task)


ANN_1, ANN_2 = Identity("ann", "s-1"), Identity("ann", "s-2")
ANN_KEY = Identity("ann", key_id="k-1")
BEN = Identity("ben", "s-3")
ALL = [ANN_1, ANN_2, ANN_KEY, BEN]


@pytest.mark.parametrize(
    ("revoked", "ended"),
    [
        (Revoked(user_id="ann", session_id="s-1"), [ANN_1]),
        (Revoked(user_id="ann", key_id="k-1"), [ANN_KEY]),
        (Revoked(user_id="ann"), [ANN_1, ANN_2, ANN_KEY]),
        (Revoked(user_id="ann", disabled=True), [ANN_1, ANN_2, ANN_KEY]),
        (Revoked(user_id="ann", closes=False), []),
        (Revoked(user_id="ben", session_id="s-1"), []),
        (Revoked(user_id="eve"), []),
    ],
)
async def test_an_event_ends_what_it_names_and_nothing_else(revoked: Revoked, ended: list[Identity]) -> None:
    identities = identities_of(Store())
    connections = {identity: [Connection(identities, identity) for _ in range(2)] for identity in ALL}
    identities.on_revoked(b"ctl.identity.revoked", msgspec.json.encode(revoked))
    for identity, both in connections.items():
        assert [one.ended for one in both] == ([1, 1] if identity in ended else [0, 0])
    assert len(identities) == 2 * (len(ALL) - len(ended))


async def test_a_connection_opened_with_a_ticket_from_before_the_revocation_is_closed_soon() -> None:
    store = Store()
    store.revoked = {"s-1"}
    identities = identities_of(store)
    async with watching(identities):
        late, other = Connection(identities, ANN_1), Connection(identities, ANN_2)
        await eventually(lambda: late.ended)
        assert not other.ended


async def test_a_new_connection_is_checked_once_and_all_are_checked_now_and_then() -> None:
    store = Store()
    identities = identities_of(store, period=0.3)
    async with watching(identities):
        connection = Connection(identities, ANN_1)
        await eventually(lambda: len(store.asked) == 1)
        store.revoked = {"s-1"}  # and the event is lost
        await eventually(lambda: connection.ended)
    assert 2 <= len(store.asked) <= 4


async def test_after_a_reconnect_all_are_checked_at_once() -> None:
    store = Store()
    identities = identities_of(store)
    async with watching(identities):
        connection = Connection(identities, ANN_KEY)
        await eventually(lambda: store.asked)
        store.revoked = {"k-1"}
        identities.reconnected()
        await eventually(lambda: connection.ended)


async def test_the_user_of_a_connection_without_a_session_or_key_is_checked() -> None:
    store = Store()
    identities = identities_of(store)
    async with watching(identities):
        # Of a proxy's user, and of a token of another issuer.
        named, other = Connection(identities, Identity("ann")), Connection(identities, Identity("ben"))
        await eventually(lambda: store.asked)
        store.revoked = {"ann"}  # and the event is lost
        identities.reconnected()
        await eventually(lambda: named.ended)
        assert not other.ended


async def test_a_connection_that_is_closed_while_it_is_checked_is_not_ended() -> None:
    store = Store()
    store.revoked = {"s-1", "s-3"}
    identities = identities_of(store)
    left, stays = Connection(identities, ANN_1), Connection(identities, BEN)
    store.before_reply = lambda: identities.remove(left, "ann")
    async with watching(identities):
        await eventually(lambda: stays.ended)
    assert not left.ended


async def test_an_event_that_does_not_decode_has_all_checked() -> None:
    store = Store()
    identities = identities_of(store)
    async with watching(identities):
        connection = Connection(identities, BEN)
        await eventually(lambda: store.asked)
        store.revoked = {"ben"}
        identities.on_revoked(b"ctl.identity.revoked", b"nonsense")
        await eventually(lambda: connection.ended)


async def test_while_chat_store_is_away_nothing_is_closed_and_the_check_is_repeated() -> None:
    store = Store()
    store.away = True
    store.revoked = {"s-1"}
    identities = identities_of(store)
    async with watching(identities):
        connection = Connection(identities, ANN_1)
        identities.reconnected()
        await eventually(lambda: len(store.asked) >= 3)
        assert not connection.ended
        store.away = False
        await eventually(lambda: connection.ended)


async def test_many_connections_are_checked_in_batches_that_fit_a_request() -> None:
    store = Store()
    identities = identities_of(store)
    connections = [Connection(identities, Identity(f"user-{number}", f"s-{number}")) for number in range(2500)]
    store.revoked = {"s-2499"}
    async with watching(identities):
        await eventually(lambda: connections[-1].ended)
    assert [len(request.session_ids) for request in store.asked] == [1000, 1000, 500]


async def test_a_session_is_checked_at_its_end_for_it_may_have_been_extended() -> None:
    store = Store()
    identities = identities_of(store)
    async with watching(identities):
        ended = Connection(identities, Identity("ann", "s-1", ends_at=time.time() + 0.3))
        extended = Connection(identities, Identity("ann", "s-2", ends_at=time.time() + 0.3))
        await eventually(lambda: store.asked)
        store.revoked = {"s-1"}
        await eventually(lambda: ended.ended)
        assert not extended.ended


async def test_a_connection_without_a_session_or_key_ends_with_its_token() -> None:
    identities = identities_of(Store())
    connection = Connection(identities, Identity("ann", ends_at=time.time() + 0.1))
    other = Connection(identities, Identity("ann", "s-2", ends_at=time.time() + 600))
    await eventually(lambda: connection.ended)
    assert not other.ended
    identities.remove(other, "ann")
    assert len(identities) == 0


async def test_a_connection_that_left_is_forgotten() -> None:
    store = Store()
    identities = identities_of(store)
    connection = Connection(identities, Identity("ann", "s-1", ends_at=time.time() + 0.05))
    identities.remove(connection, "ann")
    identities.remove(connection, "ann")
    identities.on_revoked(b"", msgspec.json.encode(Revoked(user_id="ann")))
    async with watching(identities):
        kept = Connection(identities, BEN)
        await eventually(lambda: store.asked)
    assert (connection.ended, kept.ended) == (0, 0)
    assert store.asked[0].session_ids == ["s-3"]
