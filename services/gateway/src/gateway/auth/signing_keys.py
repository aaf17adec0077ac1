"""The keys with which another issuer signs tokens, and the verification of such tokens (JWT, RFC 7519)."""

import asyncio
import functools
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import jwt
import msgspec
from jwt import PyJWK

from gateway.errors import NotAuthenticated, Unavailable
from parley.contracts.decoding import UNDECODABLE
from parley.runtime.tokens import LEEWAY

log = logging.getLogger(__name__)

REFETCH_SECONDS: Final = 10.0
"""Seconds between two requests for keys because of an unknown ``kid``, which any client can send, and between attempts
while the issuer does not respond."""

_FRESH_SECONDS: Final = 3600.0
"""Seconds after which keys are fetched again: a key that the issuer withdrew is accepted for that long."""

_FETCH_SECONDS: Final = 5.0
_MAX_BYTES: Final = 1024 * 1024

SIGNING_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Algorithms of key pairs. Shared secrets are not accepted: whoever verifies with one can also sign with it."""


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return the TLS context of all requests to identity providers.

    Cached: creating one reads all root certificates and blocks the process for 25 ms.
    """
    import httpx2  # only where AUTH_MODES needs it

    return httpx2.create_ssl_context()


async def fetch_json(url: str) -> dict[str, Any]:
    """Return a JSON object of the identity provider. Raises: Unavailable."""
    import httpx2

    body = bytearray()
    try:
        # Of the client's own timeout each read has as much.
        async with (
            asyncio.timeout(_FETCH_SECONDS),
            httpx2.AsyncClient(timeout=None, verify=tls_context()) as http,
            http.stream("GET", url) as response,
        ):
            async for chunk in response.raise_for_status().aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise Unavailable(f"The identity provider sends more than {_MAX_BYTES} bytes: {url}")
        return msgspec.json.decode(body, type=dict[str, Any])
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        raise Unavailable(f"The identity provider does not respond: {url}: {error!r}") from error
    except UNDECODABLE as error:
        raise Unavailable(f"The identity provider sends no JSON object: {url}: {error}") from error


class FixedKey:
    """The one key of an issuer that publishes none: a public key (PEM), or a secret for HS256."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def find(self, key_id: str | None, algorithm: str) -> str:
        return self._key


class PublishedKeys:
    """The keys that an issuer publishes as a JWK set (RFC 7517), and replaces from time to time.

    Args:
        fetch: Returns the document. Raises: Unavailable.
    """

    def __init__(self, fetch: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._fetch = fetch
        self._keys: list[dict[str, Any]] = []
        self._fetched_at = -float("inf")
        self._tried_at = -float("inf")
        self._refetched_at = -float("inf")
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK:
        """Return the key that a token names. For an unknown name, the keys are fetched again, at a limited rate.

        Keys that were fetched before are used while the issuer does not respond.

        Raises:
            jwt.InvalidKeyError: the issuer has no such key.
            Unavailable: the keys were never fetched, and cannot be now.
        """
        if self._is_stale(time.monotonic()):
            await self._refresh(self._is_stale)
        found = self._lookup(key_id, algorithm)
        if found is None:
            await self._refresh(self._may_refetch)
            found = self._lookup(key_id, algorithm)
        if found is None:
            if not self._keys:
                raise Unavailable("The keys of the identity provider cannot be fetched at the moment.")
            raise jwt.InvalidKeyError("The issuer publishes no such key")
        return found

    def _is_stale(self, now: float) -> bool:
        return now - self._fetched_at >= _FRESH_SECONDS and now - self._tried_at >= REFETCH_SECONDS

    def _may_refetch(self, now: float) -> bool:
        if now - self._refetched_at < REFETCH_SECONDS or not self._keys:
            return False
        self._refetched_at = now
        return True

    async def _refresh(self, is_due: Callable[[float], bool]) -> None:
        async with self._fetching:
            if not is_due(time.monotonic()):
                return  # or another request has done it meanwhile
            self._tried_at = time.monotonic()
            try:
                keys = [dict(key) for key in (await self._fetch())["keys"]]
            except (Unavailable, KeyError, TypeError, ValueError) as error:
                log.warning("The keys of the identity provider could not be fetched: %s", error)
                return
            # A shared secret that is published is not secret.
            self._keys = [key for key in keys if key.get("use", "sig") == "sig" and key.get("kty") != "oct"]
            if self._keys:
                self._fetched_at = self._tried_at
            else:
                log.warning("The identity provider publishes no key that verifies signatures")

    def _lookup(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        # RFC 7517 does not require a name: without one, the issuer must have a single key for the algorithm. A key
        # without `alg` is for the algorithms of its type; PyJWK raises an error for another.
        usable = [
            key for key in self._keys if key_id in (None, key.get("kid")) and (key.get("alg") or algorithm) == algorithm
        ]
        if not usable or (key_id is None and len(usable) > 1):
            return None
        return PyJWK(usable[0], algorithm)


async def verify(
    token: str,
    keys: FixedKey | PublishedKeys,
    *,
    issuer: str,
    audience: str,
    algorithms: Sequence[str],
    required: Sequence[str] = ("sub", "exp"),
) -> dict[str, Any]:
    """Return the claims of a token that ``issuer`` signed for ``audience``, ten seconds of skew allowed for.

    Raises:
        NotAuthenticated: it is forged, damaged, expired, not yet valid, or meant for somebody else.
        Unavailable: the issuer's keys cannot be fetched.
    """
    try:
        header = jwt.get_unverified_header(token)
        algorithm = str(header.get("alg"))
        if algorithm not in algorithms:
            raise jwt.InvalidAlgorithmError(f"The algorithm {algorithm[:16]!r} is not accepted")
        key = await keys.find(header.get("kid"), algorithm)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            # A single one: a public key must never be used as a shared secret (algorithm confusion).
            algorithms=[algorithm],
            issuer=issuer,
            audience=audience,
            leeway=LEEWAY,
            options={"require": ["iss", "aud", *required]},
        )
    except jwt.ExpiredSignatureError as error:
        raise NotAuthenticated("The token has expired.", code="token_expired") from error
    except (jwt.PyJWTError, UnicodeError, ValueError, TypeError, OverflowError) as error:
        raise NotAuthenticated("The token is not valid.", code="token_invalid") from error
    return claims
