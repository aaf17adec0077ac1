"""Signed tokens: who a caller is. Issued by the gateway, checked by the gateway and by push (JWT, HS256).

The clocks of two machines differ, so times are taken with ``LEEWAY`` to spare. More than that is an operator's to mend:
it is logged, once, with both clocks, and counted.
"""

import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import jwt
from prometheus_client import Counter

log = logging.getLogger(__name__)

Kind = Literal["session", "ticket"]

MIN_KEY_BYTES = 32
"""RFC 7518 §3.2: a key of HS256 has at least 256 bits."""


LEEWAY = 10.0
"""Seconds that the clocks of two machines may differ."""

CLOCK_SKEW = Counter(
    "parley_clock_skew_total",
    "Tokens whose time shows that the clock of their issuer and this one differ by more than ten seconds",
    ["kind"],
)


class TokenInvalid(Exception):
    """The token is forged, damaged, or of another kind."""


class TokenExpired(TokenInvalid):
    """The token was good once."""


class TokenNotYet(TokenInvalid):
    """The token is good, but made in what is the future here: the clocks of two machines differ too much."""


@dataclass(frozen=True)
class Claims:
    user_id: str
    expires_at: datetime


EARLIER_COOKIE = "parley_session"
"""The cookie's name when all installations shared it: read when there is no other, never set."""


def cookie_name(key: str) -> str:
    """Return the name of an installation's session cookie: all ports of a host share its cookies."""
    return f"parley_session_{hashlib.sha256(b'cookie ' + key.encode()).hexdigest()[:8]}"


def issue(key: str, kind: Kind, user_id: str, ttl: float) -> tuple[str, datetime]:
    """Sign a token for ``user_id`` that is good for ``ttl`` seconds; return it and when it expires."""
    now = datetime.now(UTC)
    expires_at = (now + timedelta(seconds=ttl)).replace(microsecond=0)
    claims = {"sub": user_id, "aud": kind, "iat": int(now.timestamp()), "exp": int(expires_at.timestamp())}
    if kind == "ticket":
        # A ticket is good for one socket (push.transport.tickets), so no two are alike.
        claims["jti"] = secrets.token_urlsafe(12)
    return jwt.encode(claims, key, algorithm="HS256"), expires_at


def verify(key: str, kind: Kind, token: str) -> Claims:
    """Return what ``token`` claims.

    Raises:
        TokenExpired: it was good once.
        TokenNotYet: it was issued in the future.
        TokenInvalid: anything else is wrong with it.
    """
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=["HS256"],
            audience=kind,
            leeway=LEEWAY,
            options={"require": ["sub", "aud", "exp"]},
        )
    except jwt.ExpiredSignatureError as error:
        if kind == "ticket":
            # A ticket is used at once; one that comes so late is rare, unless the clocks differ.
            _note_skew(kind, token)
        raise TokenExpired from error
    except jwt.ImmatureSignatureError as error:
        _note_skew(kind, token)
        raise TokenNotYet from error
    except (jwt.InvalidTokenError, UnicodeError, ValueError) as error:
        raise TokenInvalid from error
    return Claims(user_id=str(claims["sub"]), expires_at=datetime.fromtimestamp(claims["exp"], UTC))


_noted: set[Kind] = set()


def _note_skew(kind: Kind, token: str) -> None:
    """Count a token that is too early or too late; log the first of its kind. Its signature was verified."""
    CLOCK_SKEW.labels(kind).inc()
    if kind in _noted:
        return
    _noted.add(kind)
    claims = jwt.decode(token, options={"verify_signature": False})
    issued = datetime.fromtimestamp(claims.get("iat", 0), UTC)
    log.warning(
        "A %s was issued at %s by its issuer's clock, and it is %s by this one: the clocks of the two machines differ "
        "by more than is allowed for (%g s), or it was used late. Synchronize both (NTP). Logged once; "
        "parley_clock_skew_total counts them.",
        kind,
        issued.isoformat(),
        datetime.now(UTC).isoformat(timespec="seconds"),
        LEEWAY,
    )
