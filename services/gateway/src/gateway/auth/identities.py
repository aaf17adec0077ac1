"""The principals of requests, resolved by chat-store and cached here (``docs/decisions/0050``)."""

import asyncio
import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec
from nats.aio.msg import Msg

from gateway.bus.store_client import StoreClient
from gateway.errors import Forbidden, GatewayError, NotAuthenticated, NotFound, Unavailable
from gateway.metrics import STALE_IDENTITIES
from parley.contracts import rpc
from parley.contracts.access import identity
from parley.contracts.access.identity import External, Principal, UserRole
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.ids import new_id

FRESH_SECONDS: Final = 60.0
"""Seconds for which a principal is used without asking again."""

STALE_SECONDS: Final = 600.0
"""Seconds for which it is used while chat-store does not reply: as long as an access token is valid."""

CHECK_SECONDS: Final = 30.0
"""Seconds after which chat-store is asked which cached principals have ended: the event may have been lost."""

RETRY_SECONDS: Final = 2.0
"""Seconds after which it is asked again when it does not reply."""

_CHUNK: Final = 1000

_revoked = msgspec.json.Decoder(identity.Revoked)


@dataclass(frozen=True)
class Identity:
    """The user who makes a request, and how that user was authenticated."""

    principal: Principal
    via: Literal["bearer", "cookie", "proxy"]

    @property
    def user_id(self) -> str:
        return self.principal.user.id

    @property
    def groups(self) -> Sequence[str]:
        return self.principal.user.groups

    @property
    def role(self) -> UserRole:
        return self.principal.user.role


class _Cached(NamedTuple):
    principal: Principal
    since: float


class Identities:
    """Resolves the credentials of requests to principals. A revocation removes a principal from the cache at once.

    Args:
        capacity: How many principals are cached; then the one that was resolved longest ago is dropped.
    """

    def __init__(self, store: StoreClient, capacity: int = 100_000) -> None:
        self._store = store
        self._capacity = capacity
        self._cached: dict[str, _Cached] = {}
        self._of_user: defaultdict[str, set[str]] = defaultdict(set)
        self._check_now = asyncio.Event()
        # Grows with each revocation: a reply from before it is not cached.
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._cached)

    async def by_session_secret(self, secret: str) -> Principal:
        """Return the principal of a session's cookie.

        Raises:
            NotAuthenticated: there is no such session, or it has ended.
            Forbidden: the user is disabled.
            Unavailable: chat-store does not answer, and nothing is cached.
        """
        digest = identity.digest(secret)
        return await self._find(f"secret {digest}", identity.ResolveSession(secret_digest=digest), "session_ended")

    async def by_session_id(self, session_id: str) -> Principal:
        """Return the principal of an access token's session. Raises as :meth:`by_session_secret`."""
        request = identity.ResolveSession(session_id=session_id)
        return await self._find(f"session {session_id}", request, "session_ended")

    async def by_api_key(self, key: str) -> Principal:
        """Return the principal of an API key. Raises as :meth:`by_session_secret`, with the code ``token_invalid``."""
        digest = identity.digest(key)
        prefix = identity.prefix_of(key)
        if prefix is None:
            raise NotAuthenticated("The API key is not valid.", code="token_invalid")
        request = identity.ResolveApiKey(prefix=prefix, secret_digest=digest)
        return await self._find(f"key {digest}", request, "token_invalid")

    def fresh(self, key: str) -> Principal | None:
        """Return a principal that :meth:`by_external` cached a short time ago under this key."""
        cached = self._cached.get(key)
        if cached is None or time.monotonic() - cached.since >= FRESH_SECONDS or _has_ended(cached.principal):
            return None
        return cached.principal

    async def by_external(self, key: str, external: External, ends_at: datetime | None) -> Principal:
        """Return the principal of a user whom another issuer or a proxy named.

        Args:
            key: What it is cached under.
            ends_at: When the token that named the user expires.

        Raises:
            Forbidden: the user is disabled.
            Unavailable: chat-store does not answer, and nothing is cached.
        """
        request = identity.ResolveExternal(external=external, new_user_id=new_id())
        return await self._find(key, request, "token_invalid", ends_at)

    def add_session(self, secret: str, principal: Principal) -> None:
        """Cache a session that has just been started."""
        now = time.monotonic()
        self._add(f"secret {identity.digest(secret)}", principal, now)
        self._add(f"session {principal.session_id}", principal, now)

    async def _find(
        self, key: str, request: rpc.Request[identity.PrincipalReply], code: str, ends_at: datetime | None = None
    ) -> Principal:
        now, epoch = time.monotonic(), self._epoch
        cached = self._cached.get(key)
        if cached is not None and (now - cached.since >= STALE_SECONDS or _has_ended(cached.principal)):
            self._drop(key)
            cached = None
        if cached is not None and now - cached.since < FRESH_SECONDS:
            return cached.principal
        try:
            principal = (await self._store.ask(request)).principal
        except NotFound:
            self._drop(key)
            raise NotAuthenticated("The session has ended. Sign in again.", code=code) from None
        except Forbidden:
            self._drop(key)
            raise Forbidden("This user is disabled.", code="user_disabled") from None
        except Unavailable:
            if cached is None:
                raise
            STALE_IDENTITIES.inc()
            return cached.principal
        if ends_at is not None:
            principal = msgspec.structs.replace(principal, expires_at=ends_at)
        if epoch == self._epoch:
            self._add(key, principal, now)
        return principal

    async def on_revoked(self, message: Msg) -> None:
        """Drop the principals that a revocation concerns. The callback of the subscription."""
        try:
            revoked = _revoked.decode(message.data)
        except UNDECODABLE:
            self.on_reconnected()
            return
        self.revoke(revoked)

    def revoke(self, revoked: identity.Revoked) -> None:
        self._epoch += 1
        for key in tuple(self._of_user.get(revoked.user_id, ())):
            if revoked.concerns(*_ids(self._cached[key].principal)):
                self._drop(key)

    def on_reconnected(self) -> None:
        """Resolve each principal again at its next use: events of revocations and of changed users may have been lost.

        Those that have ended are dropped as soon as chat-store replies, so that a later outage does not admit them.
        """
        self._epoch += 1
        before = time.monotonic() - FRESH_SECONDS
        for key, cached in self._cached.items():
            self._cached[key] = _Cached(cached.principal, min(cached.since, before))
        self._check_now.set()

    async def watch(self) -> None:
        """Drop principals that have ended, every half minute and after a reconnect to NATS, until cancelled."""
        wait = CHECK_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._check_now.wait()
            self._check_now.clear()
            try:
                await self._check()
                wait = CHECK_SECONDS
            except GatewayError:
                wait = RETRY_SECONDS

    async def _check(self) -> None:
        """Drop the principals that are too old to be used, and those that have ended, as chat-store knows.

        Raises: Unavailable.
        """
        oldest = time.monotonic() - STALE_SECONDS
        for key in [key for key, cached in self._cached.items() if cached.since <= oldest]:
            self._drop(key)
        rest = iter(tuple(self._cached.items()))
        while chunk := dict(itertools.islice(rest, _CHUNK)):
            ids = {key: _ids(cached.principal) for key, cached in chunk.items()}
            reply = await self._store.ask(identity.FindRevoked.of(ids.values()))
            for key in chunk:
                if reply.concerns(*ids[key]):
                    self._drop(key)

    def _add(self, key: str, principal: Principal, now: float) -> None:
        self._drop(key)
        self._cached[key] = _Cached(principal, now)
        self._of_user[principal.user.id].add(key)
        if len(self._cached) > self._capacity:
            self._drop(next(iter(self._cached)))

    def _drop(self, key: str) -> None:
        cached = self._cached.pop(key, None)
        if cached is None:
            return
        keys = self._of_user[cached.principal.user.id]
        keys.discard(key)
        if not keys:
            del self._of_user[cached.principal.user.id]


def _ids(principal: Principal) -> tuple[str, str | None, str | None]:
    return principal.user.id, principal.session_id, principal.key_id


def _has_ended(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at.timestamp() <= time.time()
