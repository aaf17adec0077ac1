"""Who makes a request: found by chat-store, and cached here (``docs/decisions/0050``)."""

import time
from collections import defaultdict
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from nats.aio.msg import Msg

from gateway.bus.store_client import StoreClient
from gateway.errors import Forbidden, NotAuthenticated, NotFound, Unavailable
from gateway.metrics import STALE_IDENTITIES
from parley.contracts import identity, rpc
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.identity import External, Principal
from parley.contracts.ids import new_id

FRESH_SECONDS: Final = 60.0
"""How long a principal is used without asking again."""

STALE_SECONDS: Final = 600.0
"""How long it is used while chat-store cannot be asked: as long as an access token is good."""

_revoked = msgspec.json.Decoder(identity.Revoked)


class _Cached(NamedTuple):
    principal: Principal
    since: float


class Identities:
    """Finds principals by what a request carries. A revocation removes what is cached at once.

    Args:
        capacity: Principals that are cached; of more, the one that was asked for longest ago is dropped.
    """

    def __init__(self, store: StoreClient, capacity: int = 100_000) -> None:
        self._store = store
        self._capacity = capacity
        self._cached: dict[str, _Cached] = {}
        self._of_user: defaultdict[str, set[str]] = defaultdict(set)

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
        now = time.monotonic()
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
        self._add(key, principal, now)
        return principal

    async def on_revoked(self, message: Msg) -> None:
        """Drop what a revocation concerns: the subscription's callback."""
        try:
            revoked = _revoked.decode(message.data)
        except UNDECODABLE:
            return
        self.revoke(revoked)

    def revoke(self, revoked: identity.Revoked) -> None:
        for key in tuple(self._of_user.get(revoked.user_id, ())):
            principal = self._cached[key].principal
            if revoked.concerns(principal.user.id, principal.session_id, principal.key_id):
                self._drop(key)

    def expire(self) -> None:
        """Ask for everything anew at its next use: a revocation may have been lost."""
        before = time.monotonic() - FRESH_SECONDS
        for key, cached in self._cached.items():
            self._cached[key] = _Cached(cached.principal, min(cached.since, before))

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


def _has_ended(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at.timestamp() <= time.time()
