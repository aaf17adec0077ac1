"""Signed tokens: who a caller is. Issued by the gateway, checked by the gateway and by push (JWT, HS256)."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import jwt

Kind = Literal["session", "ticket"]

MIN_KEY_BYTES = 32
"""RFC 7518 §3.2: a key of HS256 has at least 256 bits."""


class TokenInvalid(Exception):
    """The token is forged, damaged, or of another kind."""


class TokenExpired(TokenInvalid):
    """The token was good once."""


@dataclass(frozen=True)
class Claims:
    user_id: str
    expires_at: datetime


def issue(key: str, kind: Kind, user_id: str, ttl: float) -> tuple[str, datetime]:
    """Sign a token for ``user_id`` that is good for ``ttl`` seconds; return it and when it expires."""
    now = datetime.now(UTC)
    expires_at = (now + timedelta(seconds=ttl)).replace(microsecond=0)
    claims = {"sub": user_id, "aud": kind, "iat": int(now.timestamp()), "exp": int(expires_at.timestamp())}
    if kind == "ticket":
        # A ticket is good for one socket (push.tickets), so no two are alike.
        claims["jti"] = secrets.token_urlsafe(12)
    return jwt.encode(claims, key, algorithm="HS256"), expires_at


def verify(key: str, kind: Kind, token: str) -> Claims:
    """Return what ``token`` claims.

    Raises:
        TokenExpired: it was good once.
        TokenInvalid: anything else is wrong with it.
    """
    try:
        claims = jwt.decode(token, key, algorithms=["HS256"], audience=kind, options={"require": ["sub", "aud", "exp"]})
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired from error
    except (jwt.InvalidTokenError, UnicodeError, ValueError) as error:
        raise TokenInvalid from error
    return Claims(user_id=str(claims["sub"]), expires_at=datetime.fromtimestamp(claims["exp"], UTC))
