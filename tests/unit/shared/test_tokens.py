"""Tokens say who a caller is, for a time, for one purpose."""

import base64
import json
import re
import time
from datetime import UTC, datetime

import jwt
import pytest
from prometheus_client import REGISTRY

from parley.runtime import tokens
from parley.runtime.tokens import Claims, KeyRing, TokenExpired, TokenInvalid

KEY = "k" * 32
NEWER = "n" * 32
KEYS = KeyRing([KEY])


def header_of(token: str) -> dict[str, object]:
    return jwt.get_unverified_header(token)


@pytest.mark.parametrize("kind", ["session", "access", "ticket"])
def test_a_token_names_its_user_until_it_expires(kind: tokens.Kind) -> None:
    token, expires_at = KEYS.issue(kind, "user-1", 60)
    claims = KEYS.verify(kind, token)
    assert (claims.user_id, claims.expires_at) == ("user-1", expires_at)


def test_a_token_names_the_session_or_the_api_key_that_it_was_issued_for_and_its_end() -> None:
    ends_at = datetime(2030, 1, 2, tzinfo=UTC)
    of_session = KEYS.verify("access", KEYS.issue("access", "user-1", 60, session_id="s-1", ends_at=ends_at)[0])
    of_key = KEYS.verify("ticket", KEYS.issue("ticket", "user-1", 60, key_id="k-1")[0])
    assert (of_session.session_id, of_session.key_id, of_session.ends_at) == ("s-1", None, ends_at)
    assert (of_key.session_id, of_key.key_id, of_key.ends_at) == (None, "k-1", None)


def test_no_two_tokens_have_the_same_id() -> None:
    ids = {KEYS.verify("access", KEYS.issue("access", "user-1", 60)[0]).token_id for _ in range(10)}
    assert len(ids) == 10
    assert None not in ids


def test_an_expired_token_is_distinguished_from_a_forged_one() -> None:
    token, _ = KEYS.issue("ticket", "user-1", -11)
    with pytest.raises(TokenExpired):
        KEYS.verify("ticket", token)


# --- several keys ----------------------------------------------------------------------------------------------------


def test_a_rotation_ends_no_token_before_its_time() -> None:
    before = KeyRing([KEY])
    during = KeyRing([NEWER, KEY])
    after = KeyRing([NEWER])
    old, new = before.issue("access", "user-1", 60)[0], during.issue("access", "user-1", 60)[0]
    assert during.verify("access", old).user_id == "user-1"
    assert during.verify("access", new).user_id == "user-1"
    assert after.verify("access", new).user_id == "user-1"
    with pytest.raises(TokenInvalid):
        after.verify("access", old)
    # A process with the new list after one with the old one: the new key is listed everywhere before it signs.
    listed_second = KeyRing([KEY, NEWER])
    assert listed_second.verify("access", new).user_id == "user-1"


def test_a_token_names_its_key_without_revealing_it() -> None:
    names = {header_of(KeyRing([key]).issue("access", "user-1", 60)[0])["kid"] for key in (KEY, NEWER)}
    assert len(names) == 2
    assert all(re.fullmatch("[0-9a-f]{12}", str(name)) for name in names)


def test_a_key_ring_without_a_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        KeyRing([])


def signed(key: str, kind: str = "access", **header: object) -> str:
    now = int(time.time())
    return jwt.encode({"sub": "user-1", "aud": kind, "iat": now, "exp": now + 60}, key, headers=header)


def kid_of(key: str) -> object:
    return header_of(KeyRing([key]).issue("access", "user-1", 60)[0])["kid"]


@pytest.mark.parametrize("kind", ["session", "ticket"])
@pytest.mark.parametrize("key", [KEY, NEWER])
def test_a_session_or_ticket_of_the_version_before_names_no_key(kind: tokens.Kind, key: str) -> None:
    assert KeyRing([NEWER, KEY]).verify(kind, signed(key, kind)).user_id == "user-1"
    with pytest.raises(TokenInvalid):
        KeyRing(["o" * 32]).verify(kind, signed(key, kind))


def test_an_access_token_names_its_key() -> None:
    with pytest.raises(TokenInvalid):
        KEYS.verify("access", signed(KEY))


@pytest.mark.parametrize("kid", ["000000000000", kid_of(NEWER), "", "../key", 7, None])
def test_a_token_that_names_another_key_is_invalid(kid: object) -> None:
    with pytest.raises(TokenInvalid):
        KEYS.verify("access", signed_with_header({"alg": "HS256", "typ": "JWT", "kid": kid}))
    with pytest.raises(TokenInvalid):
        KeyRing([KEY, NEWER]).verify("access", signed_with_header({"alg": "HS256", "kid": kid_of(NEWER)}))


# --- algorithms ------------------------------------------------------------------------------------------------------


def signed_with_header(header: dict[str, object], *, algorithm: str = "HS256") -> str:
    """A token that ``KEY`` signs as this algorithm does, whatever its header states."""
    parts = [header, {"sub": "user-1", "aud": "access", "iat": int(time.time()), "exp": int(time.time()) + 60}]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = jwt.get_algorithm_by_name(algorithm).sign(text, KEY.encode())
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_the_header_of_a_good_token_is_accepted() -> None:
    assert KEYS.verify("access", signed_with_header({"alg": "HS256", "kid": kid_of(KEY)})).user_id == "user-1"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_an_unsigned_token_is_invalid(algorithm: str) -> None:
    token = signed_with_header({"alg": algorithm, "kid": kid_of(KEY)})
    for spelled in (token, token.rpartition(".")[0] + "."):
        with pytest.raises(TokenInvalid):
            KEYS.verify("access", spelled)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256", "EdDSA", "HS384", "HS512", "hs256"])
def test_no_algorithm_but_one_is_accepted(algorithm: str) -> None:
    with pytest.raises(TokenInvalid):
        KEYS.verify("access", signed_with_header({"alg": algorithm, "kid": kid_of(KEY)}))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_a_token_signed_with_our_key_by_another_algorithm_is_invalid(algorithm: str) -> None:
    for stated in (algorithm, "HS256"):
        with pytest.raises(TokenInvalid):
            KEYS.verify("access", signed_with_header({"alg": stated, "kid": kid_of(KEY)}, algorithm=algorithm))


# --- clocks ----------------------------------------------------------------------------------------------------------


def of_another_clock(kind: tokens.Kind, ahead: float, *, seconds: float = 60) -> str:
    """A token from a machine whose clock is so many seconds ahead."""
    now = int(time.time() + ahead)
    claims = {"sub": "user-1", "aud": kind, "iat": now, "exp": now + int(seconds)}
    return jwt.encode(claims, KEY, headers={"kid": kid_of(KEY)})


@pytest.mark.parametrize("kind", ["session", "access", "ticket"])
@pytest.mark.parametrize("ahead", [0.5, 3, 9, -0.5, -9])
def test_clocks_may_differ_by_ten_seconds(kind: tokens.Kind, ahead: float) -> None:
    assert KEYS.verify(kind, of_another_clock(kind, ahead)).user_id == "user-1"
    assert KEYS.verify(kind, of_another_clock(kind, ahead - 1, seconds=1)).user_id == "user-1"


@pytest.mark.parametrize(
    ("kind", "ahead", "raised"),
    [
        ("access", 30, tokens.TokenNotYet),
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
            KEYS.verify(kind, early)
    assert REGISTRY.get_sample_value("parley_clock_skew_total", {"kind": kind}) == before + 3
    (record,) = caplog.records
    issued = datetime.fromtimestamp(jwt.decode(early, options={"verify_signature": False})["iat"], UTC)
    assert issued.isoformat() in record.getMessage()
    assert datetime.now(UTC).isoformat()[:16] in record.getMessage()


# --- other faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["session", "access", "ticket"])
@pytest.mark.parametrize("issued_as", ["session", "access", "ticket"])
def test_a_token_is_good_for_its_purpose_alone(kind: tokens.Kind, issued_as: tokens.Kind) -> None:
    token, expires_at = KEYS.issue(issued_as, "user-1", 60)
    if kind == issued_as:
        assert KEYS.verify(kind, token).expires_at == expires_at
        return
    with pytest.raises(TokenInvalid):
        KEYS.verify(kind, token)


@pytest.mark.parametrize("damage", ["", "x", "a.b.c", "é.ü.ß", "e30.e30.", "🙂"])
def test_a_damaged_token_is_invalid(damage: str) -> None:
    with pytest.raises(TokenInvalid):
        KEYS.verify("session", damage)


def test_a_token_of_another_key_is_invalid() -> None:
    token, _ = KeyRing(["o" * 32]).issue("session", "user-1", 60)
    with pytest.raises(TokenInvalid):
        KEYS.verify("session", token)


def test_a_token_whose_claims_were_changed_is_invalid() -> None:
    head, _, signature = KEYS.issue("access", "user-1", 60)[0].split(".")
    claims = base64.urlsafe_b64encode(b'{"sub":"user-2","aud":"access","exp":4000000000}').rstrip(b"=").decode()
    with pytest.raises(TokenInvalid):
        KEYS.verify("access", f"{head}.{claims}.{signature}")


@pytest.mark.parametrize("missing", ["sub", "aud", "exp"])
def test_a_token_without_a_user_a_purpose_or_an_end_is_invalid(missing: str) -> None:
    claims: dict[str, object] = {"sub": "user-1", "aud": "access", "exp": int(time.time()) + 60}
    del claims[missing]
    with pytest.raises(TokenInvalid):
        KEYS.verify("access", jwt.encode(claims, KEY, headers={"kid": kid_of(KEY)}))


def test_claims_of_the_version_before_state_no_session() -> None:
    claims = KEYS.verify("ticket", signed(KEY, "ticket"))
    assert claims == Claims(user_id="user-1", expires_at=claims.expires_at)
