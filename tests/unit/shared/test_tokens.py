"""Tokens say who a caller is, for a time, for one purpose."""

import time
from datetime import UTC, datetime

import jwt
import pytest
from prometheus_client import REGISTRY

from parley.runtime import tokens

KEY = "k" * 32


def test_a_token_names_its_user_until_it_expires() -> None:
    token, expires_at = tokens.issue(KEY, "session", "user-1", 60)
    assert tokens.verify(KEY, "session", token) == tokens.Claims(user_id="user-1", expires_at=expires_at)


def test_an_expired_token_is_distinguished_from_a_forged_one() -> None:
    token, _ = tokens.issue(KEY, "ticket", "user-1", -11)
    with pytest.raises(tokens.TokenExpired):
        tokens.verify(KEY, "ticket", token)


def of_another_clock(kind: tokens.Kind, ahead: float, *, seconds: float = 60) -> str:
    """A token from a machine whose clock is so many seconds ahead."""
    now = int(time.time() + ahead)
    return jwt.encode({"sub": "user-1", "aud": kind, "iat": now, "exp": now + int(seconds)}, KEY)


@pytest.mark.parametrize("kind", ["session", "ticket"])
@pytest.mark.parametrize("ahead", [0.5, 3, 9, -0.5, -9])
def test_clocks_may_differ_by_ten_seconds(kind: tokens.Kind, ahead: float) -> None:
    assert tokens.verify(KEY, kind, of_another_clock(kind, ahead)).user_id == "user-1"
    assert tokens.verify(KEY, kind, of_another_clock(kind, ahead - 1, seconds=1)).user_id == "user-1"


@pytest.mark.parametrize(
    ("kind", "ahead", "raised"),
    [
        ("session", 30, tokens.TokenNotYet),
        ("ticket", 30, tokens.TokenNotYet),
        ("ticket", -90, tokens.TokenExpired),
    ],
)
def test_a_greater_difference_is_logged_once_with_both_clocks_and_counted(
    kind: tokens.Kind,
    ahead: float,
    raised: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tokens, "_noted", set())
    before = REGISTRY.get_sample_value("parley_clock_skew_total", {"kind": kind}) or 0
    early = of_another_clock(kind, ahead)
    for _ in range(3):
        with pytest.raises(raised):
            tokens.verify(KEY, kind, early)
    assert REGISTRY.get_sample_value("parley_clock_skew_total", {"kind": kind}) == before + 3
    (record,) = caplog.records
    issued = datetime.fromtimestamp(jwt.decode(early, options={"verify_signature": False})["iat"], UTC)
    assert issued.isoformat() in record.getMessage()
    assert datetime.now(UTC).isoformat()[:16] in record.getMessage()


def test_a_session_is_no_ticket() -> None:
    token, _ = tokens.issue(KEY, "session", "user-1", 60)
    with pytest.raises(tokens.TokenInvalid):
        tokens.verify(KEY, "ticket", token)


@pytest.mark.parametrize("damage", ["", "x", "a.b.c", "é.ü.ß", "e30.e30.", "🙂"])
def test_a_damaged_token_is_invalid(damage: str) -> None:
    with pytest.raises(tokens.TokenInvalid):
        tokens.verify(KEY, "session", damage)


def test_a_token_of_another_key_is_invalid() -> None:
    token, _ = tokens.issue("o" * 32, "session", "user-1", 60)
    with pytest.raises(tokens.TokenInvalid):
        tokens.verify(KEY, "session", token)
