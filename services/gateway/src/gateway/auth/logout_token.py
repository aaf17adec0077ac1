"""Logout tokens: an identity provider ends a user's sessions (OpenID Connect Back-Channel Logout 1.0)."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gateway.errors import Malformed
from parley.contracts.access.identity import EndProviderSessions
from parley.contracts.text import is_storable
from parley.runtime.tokens import LEEWAY

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

MAX_AGE: Final = 600.0
"""Seconds for which a logout token is valid after its ``iat``, whatever its ``exp``; its ``jti`` is stored as long."""

REQUIRED: Final = ("iat", "jti", "events")

_MAX_LENGTH: Final = 255


def read(claims: Mapping[str, Any]) -> EndProviderSessions:
    """Return the request of a token whose signature, issuer, audience and times have been verified (section 2.6).

    Raises:
        Malformed: it is not a logout token, or too old.
    """
    events = claims["events"]
    if not isinstance(events, Mapping) or not isinstance(events.get(EVENT), Mapping):
        raise refused("the claim `events` names no logout")
    if "nonce" in claims:
        raise refused("it has a nonce, as ID tokens have")
    subject, provider_session = _text(claims, "sub"), _text(claims, "sid")
    if subject is None and provider_session is None:
        raise refused("it has neither `sub` nor `sid`")
    token_id = _text(claims, "jti")
    if token_id is None:
        raise refused("the claim `jti` is empty")
    issued_at = float(claims["iat"])
    if issued_at + MAX_AGE + LEEWAY < time.time():
        raise refused("it was issued too long ago")
    return EndProviderSessions(
        issuer=claims["iss"],
        provider_subject=subject,
        provider_session=provider_session,
        token_id=token_id,
        expires_at=datetime.fromtimestamp(issued_at + MAX_AGE + 2 * LEEWAY, UTC),
    )


def session_of(claims: Mapping[str, Any]) -> str | None:
    """Return the provider's session that an ID token names, if a logout token can name it, too."""
    try:
        return _text(claims, "sid")
    except Malformed:
        return None


def refused(reason: str) -> Malformed:
    """Return the error of a logout token that is not accepted: 400, as section 2.8 asks for."""
    return Malformed(f"The logout token is not valid: {reason}.", code="logout_token_invalid")


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_LENGTH or not is_storable(value):
        raise refused(f"the claim `{name}` is not a text of at most {_MAX_LENGTH} characters")
    return value
