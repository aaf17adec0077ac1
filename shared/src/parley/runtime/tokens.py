"""Signed tokens: who a caller is. Issued by the gateway, verified by the gateway and by push (JWT, HS256).

An installation has one key or several: the first signs, all verify, and a token names its key (``kid``), so that a key
can be replaced while tokens that it signed are in use. The clocks of two machines differ, so times are compared with
``LEEWAY``. A greater difference is the operator's to correct: it is logged, once, with both clocks, and counted.
"""

import hashlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import jwt
from prometheus_client import Counter

log = logging.getLogger(__name__)

Kind = Literal["session", "access", "ticket", "sign_in"]
"""What a token is for, its audience: an access token authenticates requests, a ticket one socket; ``sign_in`` is the
state of a sign-in, in the browser that began it. ``session`` is what a cookie contained before sessions were rows."""

MIN_KEY_BYTES = 32
"""RFC 7518 §3.2: a key of HS256 has at least 256 bits."""

LEEWAY = 10.0
"""Seconds that the clocks of two machines may differ."""

CLOCK_SKEW = Counter(
    "parley_clock_skew_total",
    "Tokens whose time shows that the clock of their issuer and this one differ by more than ten seconds",
    ["kind"],
)

_ALGORITHM: Final = "HS256"
_KINDS_WITHOUT_KID: Final[tuple[Kind, ...]] = ("session", "ticket")
"""Kinds that the version before issued, without ``kid``."""


class TokenInvalid(Exception):
    """The token is forged, damaged, or of another kind."""


class TokenExpired(TokenInvalid):
    """The token was good once."""


class TokenNotYet(TokenInvalid):
    """The token is good, but made in what is the future here: the clocks of two machines differ too much."""


@dataclass(frozen=True)
class Claims:
    """What a token states.

    Attributes:
        session_id: The session that it was issued for.
        key_id: The API key that it was issued for.
        ends_at: When that session or API key ends at the latest.
        token_id: Differs between any two tokens (``jti``).
        for_answer: The gateway reads an answer for a program: that is no connection of the user's own.
    """

    user_id: str
    expires_at: datetime
    session_id: str | None = None
    key_id: str | None = None
    ends_at: datetime | None = None
    token_id: str | None = None
    for_answer: bool = False


EARLIER_COOKIE = "parley_session"
"""The cookie's name when all installations shared it: read when there is no other, never set."""


def cookie_name(key: str) -> str:
    """Return the name of an installation's session cookie: all ports of a host share its cookies."""
    return f"parley_session_{hashlib.sha256(b'cookie ' + key.encode()).hexdigest()[:8]}"


class KeyRing:
    """The keys of an installation: the first signs, all verify.

    Args:
        keys: At least one, each of ``MIN_KEY_BYTES`` or more.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError("a key ring has at least one key")
        self._keys = {_key_name(key): key for key in keys}
        self._signing_name = _key_name(keys[0])

    def issue(
        self,
        kind: Kind,
        user_id: str,
        ttl: float,
        *,
        session_id: str | None = None,
        key_id: str | None = None,
        ends_at: datetime | None = None,
        for_answer: bool = False,
    ) -> tuple[str, datetime]:
        """Sign a token for ``user_id`` that is good for ``ttl`` seconds; return it and when it expires."""
        claims: dict[str, Any] = {"sub": user_id, "jti": secrets.token_urlsafe(12)}
        if session_id is not None:
            claims["sid"] = session_id
        if key_id is not None:
            claims["key_id"] = key_id
        if ends_at is not None:
            claims["ends_at"] = int(ends_at.timestamp())
        if for_answer:
            claims["for_answer"] = True
        return self._sign(kind, claims, ttl)

    def sign_state(self, state: Mapping[str, str], ttl: float) -> str:
        """Sign the state of a sign-in. Whoever has it can read it."""
        return self._sign("sign_in", {"sub": "", "state": dict(state)}, ttl)[0]

    def verify_state(self, token: str) -> dict[str, str]:
        """Return what :meth:`sign_state` signed. Raises: TokenInvalid."""
        try:
            state: dict[str, str] = self._decode("sign_in", token)["state"]
        except (jwt.InvalidTokenError, UnicodeError, ValueError) as error:
            raise TokenInvalid from error
        return state

    def issued(self, token: str) -> bool:
        """Whether ``token`` names one of the keys: no proof, but another issuer's token does not."""
        try:
            return jwt.get_unverified_header(token).get("kid") in self._keys
        except (jwt.InvalidTokenError, UnicodeError, ValueError):
            return False

    def _sign(self, kind: Kind, claims: Mapping[str, Any], ttl: float) -> tuple[str, datetime]:
        now = datetime.now(UTC)
        expires_at = (now + timedelta(seconds=ttl)).replace(microsecond=0)
        times = {"iat": int(now.timestamp()), "exp": int(expires_at.timestamp())}
        key = self._keys[self._signing_name]
        token = jwt.encode(
            {**claims, "aud": kind, **times}, key, algorithm=_ALGORITHM, headers={"kid": self._signing_name}
        )
        return token, expires_at

    def verify(self, kind: Kind, token: str) -> Claims:
        """Return what ``token`` states.

        Raises:
            TokenExpired: it was good once.
            TokenNotYet: it was issued in the future.
            TokenInvalid: anything else is wrong with it.
        """
        try:
            claims = self._decode(kind, token)
            return Claims(
                user_id=str(claims["sub"]),
                expires_at=_time(claims["exp"]),
                session_id=claims.get("sid"),
                key_id=claims.get("key_id"),
                ends_at=_time(claims["ends_at"]) if "ends_at" in claims else None,
                token_id=claims.get("jti"),
                for_answer=claims.get("for_answer") is True,
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

    def _decode(self, kind: Kind, token: str) -> dict[str, Any]:
        """Return the claims of a token that one of the keys verifies.

        Raises:
            jwt.InvalidTokenError: none does, or what it states does not allow this use.
        """
        last: jwt.InvalidTokenError | None = None
        for key in self._keys_for(kind, token):
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=[_ALGORITHM],
                    audience=kind,
                    leeway=LEEWAY,
                    options={"require": ["sub", "aud", "exp"]},
                )
            except jwt.InvalidSignatureError as error:
                last = error
        raise last or jwt.InvalidTokenError("no key of this installation signed it")

    def _keys_for(self, kind: Kind, token: str) -> Sequence[str]:
        name = jwt.get_unverified_header(token).get("kid")
        if name is None and kind in _KINDS_WITHOUT_KID:
            return tuple(self._keys.values())
        key = self._keys.get(name) if name is not None else None
        return () if key is None else (key,)


def _key_name(key: str) -> str:
    return hashlib.sha256(b"kid " + key.encode()).hexdigest()[:12]


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


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
