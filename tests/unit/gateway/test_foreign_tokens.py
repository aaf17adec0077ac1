"""Bearer tokens of another issuer (``AUTH_MODES=jwt``)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.auth import signing_keys
from parley.runtime import tasks
from tests.support.chat_store.identities import FakeIdentities
from tests.support.oidc_provider import OidcProvider, SigningKey
from tests.support.waiting import eventually
from tests.unit.gateway.apps import app, client, token

AUDIENCE = "parley-programs"


@pytest.fixture
async def issuer() -> AsyncIterator[OidcProvider]:
    async with OidcProvider() as issuer:
        yield issuer


def accepting(issuer: OidcProvider, identities: FakeIdentities | None = None, **more: object) -> Any:
    settings = {
        "auth_modes": "jwt",
        "jwt_issuer": issuer.issuer,
        "jwt_audience": AUDIENCE,
        "jwt_jwks_url": f"{issuer.issuer}/keys",
        **more,
    }
    return app(identities=identities or FakeIdentities(), **settings)


def claims(issuer: OidcProvider, **more: Any) -> dict[str, Any]:
    given = {"iss": issuer.issuer, "sub": "robot", "aud": AUDIENCE, "exp": int(time.time()) + 300, **more}
    return {name: value for name, value in given.items() if value is not None}


def public_key(issuer: OidcProvider) -> str:
    key = issuer.key.private.public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def outcome(asgi: Any, bearer: str) -> tuple[int, str | None]:
    async with client(asgi, headers={"authorization": f"Bearer {bearer}"}) as http:
        answer = await http.get("/v1/me")
    return answer.status_code, answer.json().get("code")


async def test_a_token_names_its_user(issuer: OidcProvider) -> None:
    identities = FakeIdentities()
    asgi = accepting(issuer, identities, jwt_admin_group="admins")
    bearer = issuer.key.sign(claims(issuer, name="Robot", groups=["admins"]))
    async with client(asgi, headers={"authorization": f"Bearer {bearer}"}) as http:
        me = (await http.get("/v1/me")).json()
        again = (await http.get("/v1/me")).json()
    assert (me["name"], me["role"], me["guest"], me["session_id"]) == ("Robot", "administrator", False, None)
    assert again == me
    assert len(identities.users) == 1


@pytest.mark.parametrize("expiry", [9_999_999_999_999, 10**300, "9999999999"])
async def test_a_token_may_have_no_end_that_is_a_date(issuer: OidcProvider, expiry: object) -> None:
    assert await outcome(accepting(issuer), issuer.key.sign(claims(issuer, exp=expiry))) == (200, None)


@pytest.mark.parametrize("subject", ["", "a" * 513, "a\0", "a\ud800"])
async def test_a_user_whose_id_cannot_be_stored_as_it_is_is_refused(issuer: OidcProvider, subject: str) -> None:
    bearer = issuer.key.sign(claims(issuer, sub=subject))
    assert await outcome(accepting(issuer), bearer) == (401, "token_invalid")


async def test_half_a_surrogate_pair_in_a_name_is_replaced(issuer: OidcProvider) -> None:
    bearer = issuer.key.sign(claims(issuer, name="Ada \ud83d", groups=["a\udc00", "g" * 321]))
    async with client(accepting(issuer), headers={"authorization": f"Bearer {bearer}"}) as http:
        me = (await http.get("/v1/me")).json()
    assert (me["name"], me["groups"]) == ("Ada ?", ["a?"])


async def test_groups_decide_the_role_before_they_are_too_many(issuer: OidcProvider) -> None:
    bearer = issuer.key.sign(claims(issuer, groups=[*map(str, range(300)), "admins"]))
    async with client(
        accepting(issuer, jwt_admin_group="admins"), headers={"authorization": f"Bearer {bearer}"}
    ) as http:
        assert (await http.get("/v1/me")).json()["role"] == "administrator"


async def test_keys_that_are_there_verify_while_others_are_fetched(
    issuer: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "_FETCH_SECONDS", 60.0)
    asgi = accepting(issuer)
    assert await outcome(asgi, issuer.key.sign(claims(issuer))) == (200, None)
    issuer.dripping = "/keys"
    unknown = asyncio.create_task(outcome(asgi, SigningKey("unknown").sign(claims(issuer))))
    await eventually(lambda: issuer.fetches["/keys"] == 2)
    assert await outcome(asgi, issuer.key.sign(claims(issuer, jti="another"))) == (200, None)
    assert not unknown.done(), "it still waits for the keys"
    await tasks.end(unknown)


async def test_groups_that_the_issuer_leaves_out_are_logged(
    issuer: OidcProvider, caplog: pytest.LogCaptureFixture
) -> None:
    bearer = issuer.key.sign(claims(issuer, _claim_names={"groups": "src1"}, _claim_sources={"src1": {}}))
    assert await outcome(accepting(issuer), bearer) == (200, None)
    assert "leaves out the groups" in caplog.text


@pytest.mark.parametrize("seconds", [-1, 9])
async def test_ten_seconds_of_skew_are_allowed_for(issuer: OidcProvider, seconds: int) -> None:
    now = int(time.time())
    times = {"exp": now + seconds} if seconds < 0 else {"nbf": now + seconds, "iat": now + seconds}
    assert await outcome(accepting(issuer), issuer.key.sign(claims(issuer, **times))) == (200, None)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"iss": "https://evil.test"}, "token_invalid"),
        ({"aud": "another"}, "token_invalid"),
        ({"aud": None}, "token_invalid"),
        ({"sub": None}, "token_invalid"),
        ({"exp": None}, "token_invalid"),
        ({"exp": -30}, "token_expired"),
        ({"nbf": 30}, "token_invalid"),
        ({"iat": 30}, "token_invalid"),
    ],
)
async def test_a_token_for_somebody_else_or_another_time_is_refused(
    issuer: OidcProvider, changed: dict[str, Any], code: str
) -> None:
    now = int(time.time())
    changed = {name: now + value if isinstance(value, int) else value for name, value in changed.items()}
    assert await outcome(accepting(issuer), issuer.key.sign(claims(issuer, **changed))) == (401, code)


async def test_a_token_without_a_signature_is_refused(issuer: OidcProvider) -> None:
    for name in ("none", "None", "NONE"):
        header = jwt.utils.base64url_encode(f'{{"alg":"{name}","kid":"first"}}'.encode()).decode()
        body = jwt.encode(claims(issuer), "", algorithm="none").split(".")[1]
        assert await outcome(accepting(issuer), f"{header}.{body}.") == (401, "token_invalid")


async def test_a_public_key_is_no_shared_secret(issuer: OidcProvider) -> None:
    body = issuer.key.sign(claims(issuer)).split(".")[1]
    header = jwt.utils.base64url_encode(b'{"alg":"HS256","kid":"first"}').decode()
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = algorithm.sign(f"{header}.{body}".encode(), public_key(issuer).encode())
    forged = f"{header}.{body}.{jwt.utils.base64url_encode(signature).decode()}"
    assert await outcome(accepting(issuer), forged) == (401, "token_invalid")
    with_key = accepting(issuer, jwt_jwks_url="", jwt_key=public_key(issuer))
    assert await outcome(with_key, forged) == (401, "token_invalid")
    assert (await outcome(with_key, issuer.key.sign(claims(issuer))))[0] == 200


async def test_an_algorithm_that_is_not_allowed_is_refused(
    issuer: OidcProvider, caplog: pytest.LogCaptureFixture
) -> None:
    bearer = jwt.encode(claims(issuer), issuer.key.private, algorithm="RS512", headers={"kid": "first"})
    assert await outcome(accepting(issuer), bearer) == (401, "token_invalid")
    assert "The algorithm 'RS512' is not accepted" in caplog.text


async def test_another_key_of_the_same_name_is_refused(issuer: OidcProvider, caplog: pytest.LogCaptureFixture) -> None:
    assert await outcome(accepting(issuer), SigningKey("first").sign(claims(issuer))) == (401, "token_invalid")
    assert "Signature verification failed" in caplog.text


async def test_an_altered_token_is_refused(issuer: OidcProvider) -> None:
    one, other = (issuer.key.sign(claims(issuer, sub=name)).split(".") for name in ("robot", "ada"))
    assert await outcome(accepting(issuer), f"{one[0]}.{other[1]}.{one[2]}") == (401, "token_invalid")


async def test_a_secret_may_sign_where_it_is_the_only_key(issuer: OidcProvider) -> None:
    secret = "s" * 40
    asgi = accepting(issuer, jwt_jwks_url="", jwt_key=secret, jwt_algorithms="HS256")
    assert await outcome(asgi, jwt.encode(claims(issuer), secret)) == (200, None)
    assert await outcome(asgi, jwt.encode(claims(issuer), "x" * 40)) == (401, "token_invalid")


async def test_unknown_keys_are_fetched_at_a_bounded_rate(
    issuer: OidcProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signing_keys, "REFETCH_SECONDS", 3000.0)
    asgi = accepting(issuer)
    assert (await outcome(asgi, issuer.key.sign(claims(issuer))))[0] == 200
    stranger = SigningKey("stranger").sign(claims(issuer))
    for _ in range(5):
        assert await outcome(asgi, stranger) == (401, "token_invalid")
    assert issuer.fetches["/keys"] == 2, "once for the unknown key, and not again soon"
    assert "The issuer publishes no such key" in caplog.text


async def test_a_new_key_verifies_after_the_issuer_replaced_it(issuer: OidcProvider) -> None:
    asgi = accepting(issuer)
    old = issuer.key
    assert (await outcome(asgi, old.sign(claims(issuer))))[0] == 200
    issuer.rotate()
    assert (await outcome(asgi, issuer.key.sign(claims(issuer))))[0] == 200
    assert await outcome(asgi, old.sign(claims(issuer, name="late"))) == (401, "token_invalid")


@pytest.mark.parametrize("name", ["first", None])
async def test_of_several_keys_of_one_name_that_of_the_algorithm_verifies(
    issuer: OidcProvider, name: str | None
) -> None:
    # An issuer may publish one key once for each algorithm.
    published = [{**issuer.key.published, "alg": algorithm} for algorithm in ("RS512", "RS256", "PS256")]
    issuer.bodies["/keys"] = json.dumps({"keys": published}).encode()
    bearer = jwt.encode(claims(issuer), issuer.key.private, algorithm="RS256", headers={"kid": name} if name else None)
    assert await outcome(accepting(issuer), bearer) == (200, None)


async def test_keys_are_fetched_again_where_the_issuer_had_none(
    issuer: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "REFETCH_SECONDS", 0.0)
    asgi = accepting(issuer)
    issuer.bodies["/keys"] = b'{"keys": []}'
    assert await outcome(asgi, issuer.key.sign(claims(issuer))) == (503, "unavailable")
    del issuer.bodies["/keys"]
    assert await outcome(asgi, issuer.key.sign(claims(issuer))) == (200, None)


async def test_while_the_issuer_is_down_known_keys_verify(issuer: OidcProvider) -> None:
    asgi = accepting(issuer)
    issuer.down = True
    assert await outcome(asgi, issuer.key.sign(claims(issuer))) == (503, "unavailable")
    known = accepting(issuer)
    issuer.down = False
    assert (await outcome(known, issuer.key.sign(claims(issuer))))[0] == 200
    issuer.down = True
    assert (await outcome(known, issuer.key.sign(claims(issuer, sub="other"))))[0] == 200


async def test_a_disabled_user_is_refused(issuer: OidcProvider) -> None:
    identities = FakeIdentities()
    bearer = issuer.key.sign(claims(issuer))
    await outcome(accepting(issuer, identities), bearer)
    [user_id] = identities.users
    identities.change(user_id, disabled=True)
    assert await outcome(accepting(issuer, identities), bearer) == (403, "user_disabled")


async def test_a_foreign_token_starts_no_session(issuer: OidcProvider) -> None:
    headers = {"authorization": f"Bearer {issuer.key.sign(claims(issuer))}"}
    async with client(accepting(issuer), headers=headers) as http:
        answer = await http.post("/v1/session", json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert "set-cookie" not in answer.headers


async def test_without_the_mode_a_foreign_token_is_refused(issuer: OidcProvider) -> None:
    assert await outcome(app(), issuer.key.sign(claims(issuer))) == (401, "token_invalid")


async def test_an_expired_access_token_of_ours_is_no_foreign_one(issuer: OidcProvider) -> None:
    assert await outcome(accepting(issuer), token(seconds=-30)) == (401, "token_expired")
    assert "/keys" not in issuer.fetches
