"""Tokens say who a caller is, for a time, for one purpose."""

import pytest

from parley.runtime import tokens

KEY = "k" * 32


def test_a_token_names_its_user_until_it_expires() -> None:
    token, expires_at = tokens.issue(KEY, "session", "user-1", 60)
    assert tokens.verify(KEY, "session", token) == tokens.Claims(user_id="user-1", expires_at=expires_at)


def test_an_expired_token_is_told_apart_from_a_forged_one() -> None:
    token, _ = tokens.issue(KEY, "ticket", "user-1", -1)
    with pytest.raises(tokens.TokenExpired):
        tokens.verify(KEY, "ticket", token)


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
