"""Who the open sockets and streams belong to, and what ends them before their client does.

A session or API key that ends is reported by chat-store on ``ctl.identity.revoked``, at most once. What the event
cannot reach is asked for (``rpc.store.find_revoked``): a connection that was opened with a ticket from before the
revocation is checked within seconds, and all connections each half minute and after a reconnect to NATS.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from parley.contracts.access.identity import FindRevoked, Revoked
from parley.contracts.decoding import UNDECODABLE
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from parley.runtime.tokens import Claims
from push.bus.request_limiter import RequestLimiter

log = logging.getLogger(__name__)

_CHUNK: Final = 1000
_revoked = msgspec.json.Decoder(Revoked)


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, and the session or API key that a connection was opened with.

    Attributes:
        ends_at: When it ends by itself, unless its session was extended since (Unix time in seconds).
    """

    user_id: str
    session_id: str | None = None
    key_id: str | None = None
    ends_at: float | None = None

    @classmethod
    def of(cls, claims: Claims) -> "Identity":
        """Return who a token was issued to."""
        ends_at = claims.ends_at
        return cls(claims.user_id, claims.session_id, claims.key_id, None if ends_at is None else ends_at.timestamp())

    def is_revoked_by(self, revoked: Revoked) -> bool:
        """Whether the event ends it. One that names neither a session nor a key ends everything of its user."""
        return revoked.closes and revoked.concerns(*self.ids)

    @property
    def ids(self) -> tuple[str, str | None, str | None]:
        """What chat-store is asked about."""
        return self.user_id, self.session_id, self.key_id


class Holder(Protocol):
    """A connection that was opened with an identity."""

    def end_session(self) -> None:
        """Close the connection: its session or API key may not be used any more."""


class Identities:
    """The identities of all authenticated connections of this process.

    Args:
        limiter: Which the requests go through.
        period: Seconds between two checks of all connections.
        soon: Seconds until a new connection is checked.
    """

    def __init__(self, limiter: RequestLimiter, *, period: float = 30.0, soon: float = 2.0) -> None:
        self._limiter = limiter
        self._period = period
        self._soon = soon
        self._of_user: dict[str, dict[Holder, Identity]] = {}
        self._timers: dict[Holder, asyncio.TimerHandle] = {}
        self._unchecked: dict[Holder, Identity] = {}
        self._loop = asyncio.get_running_loop()
        self._check_all_at = self._loop.time() + period

    def __len__(self) -> int:
        return sum(map(len, self._of_user.values()))

    def add(self, holder: Holder, identity: Identity) -> None:
        """Close ``holder`` when ``identity`` ends."""
        self._of_user.setdefault(identity.user_id, {})[holder] = identity
        self._unchecked[holder] = identity
        if identity.ends_at is not None:
            self._timers[holder] = self._loop.call_later(identity.ends_at - time.time(), self._due, holder, identity)

    def remove(self, holder: Holder, user_id: str) -> None:
        """``holder`` is closed; without effect the second time."""
        self._unchecked.pop(holder, None)
        if (timer := self._timers.pop(holder, None)) is not None:
            timer.cancel()
        holders = self._of_user.get(user_id, {})
        holders.pop(holder, None)
        if not holders:
            self._of_user.pop(user_id, None)

    def on_revoked(self, _subject: bytes, payload: bytes, _headers: object = None) -> None:
        """Close what an event of chat-store ends."""
        try:
            revoked = _revoked.decode(payload)
        except UNDECODABLE as error:
            log.warning("A revocation does not decode: %s", error)
            self.reconnected()
            return
        self._end(
            holder
            for holder, identity in self._of_user.get(revoked.user_id, {}).items()
            if identity.is_revoked_by(revoked)
        )

    def reconnected(self) -> None:
        """Events may have been lost: check all connections at the next opportunity."""
        self._check_all_at = 0.0

    async def watch(self) -> None:
        """Check new connections soon, and all of them now and then, until cancelled."""
        while True:
            await asyncio.sleep(self._soon)
            now = self._loop.time()
            if now >= self._check_all_at:
                self._check_all_at = now + self._period if await self._check(tuple(self._all())) else 0.0
            elif self._unchecked:
                await self._check(tuple(self._unchecked.items()))

    def _due(self, holder: Holder, identity: Identity) -> None:
        if identity.session_id is None and identity.key_id is None:
            holder.end_session()
        else:
            # chat-store knows whether the session was used since, and goes on.
            self._unchecked[holder] = identity

    def _all(self) -> Iterator[tuple[Holder, Identity]]:
        for holders in self._of_user.values():
            yield from holders.items()

    async def _check(self, connections: Iterable[tuple[Holder, Identity]]) -> bool:
        """Close those of the connections whose identity has ended. False: chat-store does not reply."""
        rest = iter(connections)
        while chunk := dict(itertools.islice(rest, _CHUNK)):
            try:
                reply = await self._limiter.ask(FindRevoked.of(identity.ids for identity in chunk.values()))
            except (BusUnavailable, RpcRefused):
                return False
            for holder in chunk:
                self._unchecked.pop(holder, None)
            self._end(
                holder
                for holder, identity in chunk.items()
                # Meanwhile its client may have closed it: nothing can be written any more.
                if holder in self._of_user.get(identity.user_id, {}) and reply.concerns(*identity.ids)
            )
        return True

    def _end(self, holders: Iterable[Holder]) -> None:
        # Closing changes what is iterated.
        for holder in tuple(holders):
            holder.end_session()
