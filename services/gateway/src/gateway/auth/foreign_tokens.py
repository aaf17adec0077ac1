"""Tokens of another issuer as bearer tokens (``AUTH_MODES=jwt``)."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.auth import signing_keys
from gateway.auth.claims import ClaimNames
from gateway.auth.identities import Identities
from gateway.auth.signing_keys import FixedKey, PublishedKeys, fetch_json
from gateway.sign_in_settings import SignInSettings, split
from parley.contracts.access.identity import Principal
from parley.runtime.tokens import LEEWAY


class ForeignTokens:
    """Verifies the tokens of one issuer and resolves their users. Principals are cached as all others."""

    def __init__(self, settings: SignInSettings, identities: Identities) -> None:
        self._identities = identities
        self._keys: FixedKey | PublishedKeys
        if settings.jwt_key is not None:
            self._keys = FixedKey(settings.jwt_key.get_secret_value())
        else:
            self._keys = PublishedKeys(lambda: fetch_json(settings.jwt_jwks_url))
        self._names = ClaimNames(settings.jwt_groups_claim, settings.jwt_admin_group)
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._algorithms = split(settings.jwt_algorithms)

    async def find(self, token: str) -> Principal:
        """Return the token's user, who is created at the first token. The principal expires with the token.

        Raises:
            NotAuthenticated: the token is not valid.
            Forbidden: the user is disabled.
            Unavailable: the issuer's keys cannot be fetched, or chat-store does not answer.
        """
        key = f"token {hashlib.sha256(token.encode()).hexdigest()}"
        cached = self._identities.fresh(key)
        if cached is not None:
            return cached
        claims = await signing_keys.verify(
            token, self._keys, issuer=self._issuer, audience=self._audience, algorithms=self._algorithms
        )
        external = self._names.external(self._issuer, claims)
        return await self._identities.by_external(key, external, _end_of(claims))


def _end_of(claims: Mapping[str, Any]) -> datetime | None:
    """Return when a token ends; None: later than a date can be, as issuers write for never."""
    try:
        return datetime.fromtimestamp(float(claims["exp"]), UTC) + timedelta(seconds=LEEWAY)
    except (ValueError, OverflowError, OSError):
        return None
