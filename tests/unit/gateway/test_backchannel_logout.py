"""An identity provider ends sessions by a logout token, and by nothing else."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest

from parley.contracts.access.identity import Principal
from tests.support.chat_store.identities import FakeIdentities
from tests.support.oidc_provider import CLIENT_ID, OidcProvider, SigningKey
from tests.unit.gateway.apps import app, client
from tests.unit.gateway.test_oidc import sign_in, signing_in

PATH = "/v1/auth/oidc/backchannel-logout"
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
async def provider() -> AsyncIterator[OidcProvider]:
    async with OidcProvider() as provider:
        yield provider


@pytest.fixture
def identities() -> FakeIdentities:
    return FakeIdentities()


def logout(provider: OidcProvider, **claims: Any) -> dict[str, Any]:
    """The claims of a logout token for Ada's first session; None leaves one out."""
    now = int(time.time())
    times = {"iat": now, "exp": now + 120}
    named = {"sub": "ada", "sid": "first", "jti": secrets.token_hex(8), "events": {EVENT: {}}}
    whole = {"iss": provider.issuer, "aud": CLIENT_ID, **times, **named, **claims}
    return {name: value for name, value in whole.items() if value is not None}


async def post(http: httpx.AsyncClient, token: str, **more: Any) -> httpx.Response:
    return await http.post(PATH, data={"logout_token": token}, **more)


async def session_of(asgi: Any, provider: OidcProvider, identities: FakeIdentities, **claims: Any) -> str:
    """Sign in in a browser of its own; return the digest of the session's secret."""
    provider.claims = {"sub": "ada", **claims}
    before = set(identities.sessions)
    async with client(asgi) as http:
        assert (await sign_in(http, provider)).headers["location"] == "/"
    (digest,) = identities.sessions.keys() - before
    return digest


async def test_the_session_that_was_begun_in_the_providers_ends_and_no_other(
    provider: OidcProvider, identities: FakeIdentities
) -> None:
    asgi = signing_in(provider, identities)
    first = await session_of(asgi, provider, identities, sid="first")
    second = await session_of(asgi, provider, identities, sid="second")
    of_another = await session_of(asgi, provider, identities, sub="ben", sid="third")
    async with client(asgi) as http:
        answer = await post(http, provider.key.sign(logout(provider)))
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store")
    assert identities.sessions.keys() == {second, of_another}
    assert first not in identities.sessions


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ({"sub": "ada", "sid": None}, {"ben"}),
        ({"sub": None, "sid": "first"}, {"second", "unnamed", "ben"}),
        ({"sub": "ada", "sid": "first"}, {"second", "ben"}),
        ({"sub": "ben", "sid": "first"}, {"first", "second", "unnamed", "ben"}),
        ({"sub": "eve", "sid": None}, {"first", "second", "unnamed", "ben"}),
        ({"sub": None, "sid": "unknown"}, {"first", "second", "unnamed", "ben"}),
    ],
)
async def test_a_token_names_a_session_of_the_provider_or_all_of_a_user(
    provider: OidcProvider, identities: FakeIdentities, named: dict[str, Any], left: set[str]
) -> None:
    asgi = signing_in(provider, identities)
    sessions = {
        "first": await session_of(asgi, provider, identities, sid="first"),
        "second": await session_of(asgi, provider, identities, sid="second"),
        # A session from before sessions knew the provider's may be the one that is meant.
        "unnamed": await session_of(asgi, provider, identities),
        "ben": await session_of(asgi, provider, identities, sub="ben", sid="third"),
    }
    async with client(asgi) as http:
        assert (await post(http, provider.key.sign(logout(provider, **named)))).status_code == 200
    assert {name for name, digest in sessions.items() if digest in identities.sessions} == left


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"iss": "https://evil.test"}, id="another issuer"),
        pytest.param({"iss": None}, id="no issuer"),
        pytest.param({"aud": "another-client"}, id="another audience"),
        pytest.param({"aud": None}, id="no audience"),
        pytest.param({"iat": None}, id="no iat"),
        pytest.param({"iat": "soon"}, id="iat that is no time"),
        pytest.param({"iat": int(time.time()) + 3600, "exp": int(time.time()) + 7200}, id="issued in the future"),
        pytest.param({"iat": int(time.time()) - 3600}, id="issued long ago, and not expired"),
        pytest.param({"exp": int(time.time()) - 60}, id="expired"),
        pytest.param({"nbf": int(time.time()) + 3600}, id="not yet valid"),
        pytest.param({"events": None}, id="no events"),
        pytest.param({"events": EVENT}, id="events that are no object"),
        pytest.param({"events": {"http://schemas.openid.net/event/other": {}}}, id="another event"),
        pytest.param({"events": {EVENT: True}}, id="an event that is no object"),
        pytest.param({"nonce": "n"}, id="a nonce, as in an ID token"),
        pytest.param({"sub": None, "sid": None}, id="neither sub nor sid"),
        pytest.param({"sid": ""}, id="empty sid"),
        pytest.param({"sid": 7}, id="sid that is no text"),
        pytest.param({"sid": "s" * 300}, id="sid that is too long"),
        pytest.param({"sub": ["ada"]}, id="sub that is no text"),
        pytest.param({"jti": None}, id="no jti"),
        pytest.param({"jti": ""}, id="empty jti"),
    ],
)
async def test_a_token_that_states_something_else_is_refused(
    provider: OidcProvider, identities: FakeIdentities, claims: dict[str, Any]
) -> None:
    await is_refused(provider, identities, provider.key.sign(logout(provider, **claims)))


async def is_refused(provider: OidcProvider, identities: FakeIdentities, token: str) -> None:
    """Fail unless the token gets a 400 and ends nothing."""
    asgi = signing_in(provider, identities)
    session = await session_of(asgi, provider, identities, sid="first")
    async with client(asgi) as http:
        answer = await post(http, token)
    assert (answer.status_code, answer.json()["code"]) == (400, "logout_token_invalid")
    assert session in identities.sessions


async def test_a_token_of_another_key_is_refused(provider: OidcProvider, identities: FakeIdentities) -> None:
    await is_refused(provider, identities, SigningKey(provider.key.id).sign(logout(provider)))


async def test_a_token_of_a_key_that_is_not_published_is_refused(
    provider: OidcProvider, identities: FakeIdentities
) -> None:
    await is_refused(provider, identities, SigningKey("unknown").sign(logout(provider)))


async def test_a_token_without_a_signature_is_refused(provider: OidcProvider, identities: FakeIdentities) -> None:
    await is_refused(provider, identities, jwt.encode(logout(provider), "", algorithm="none"))


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(
    provider: OidcProvider, identities: FakeIdentities
) -> None:
    token = jwt.encode(
        logout(provider), str(provider.key.published["n"]), algorithm="HS256", headers={"kid": provider.key.id}
    )
    await is_refused(provider, identities, token)


async def test_an_id_token_is_no_logout_token(provider: OidcProvider, identities: FakeIdentities) -> None:
    await is_refused(provider, identities, provider.key.sign(provider.id_token("nonce", sid="first")))


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "ü"])
async def test_nonsense_is_refused(provider: OidcProvider, identities: FakeIdentities, token: str) -> None:
    asgi = signing_in(provider, identities)
    async with client(asgi) as http:
        assert (await post(http, token)).status_code == 400


async def test_a_token_is_good_once(provider: OidcProvider, identities: FakeIdentities) -> None:
    asgi = signing_in(provider, identities)
    await session_of(asgi, provider, identities, sid="first")
    token = provider.key.sign(logout(provider))
    async with client(asgi) as http:
        assert (await post(http, token)).status_code == 200
        again = await session_of(asgi, provider, identities, sid="first")
        replayed = await post(http, token)
    assert (replayed.status_code, replayed.json()["code"]) == (400, "logout_token_invalid")
    assert again in identities.sessions


async def test_a_token_for_nobody_who_is_here_is_done(provider: OidcProvider, identities: FakeIdentities) -> None:
    async with client(signing_in(provider, identities)) as http:
        assert (await post(http, provider.key.sign(logout(provider)))).status_code == 200


async def test_a_token_without_exp_is_good_for_minutes_after_it_was_issued(
    provider: OidcProvider, identities: FakeIdentities
) -> None:
    async with client(signing_in(provider, identities)) as http:
        now = int(time.time())
        fresh, old = (provider.key.sign(logout(provider, exp=None, iat=now - age)) for age in (300, 900))
        assert (await post(http, fresh)).status_code == 200
        assert (await post(http, old)).status_code == 400


async def test_while_the_provider_is_down_a_token_cannot_be_verified(
    provider: OidcProvider, identities: FakeIdentities
) -> None:
    provider.down = True
    async with client(signing_in(provider, identities)) as http:
        answer = await post(http, provider.key.sign(logout(provider)))
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"logout_token=x", "application/json", 415),
        (b'{"logout_token": "x"}', "application/json", 415),
        (b"logout_token=x", "", 415),
        (b"", "application/x-www-form-urlencoded", 400),
        (b"token=x", "application/x-www-form-urlencoded", 400),
        (b"logout_token=x&logout_token=y", "application/x-www-form-urlencoded", 400),
        (b"logout_token=\xff", "application/x-www-form-urlencoded; charset=utf-8", 400),
        (b"logout_token=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_a_body_that_is_no_form_with_a_token_is_refused(
    provider: OidcProvider, identities: FakeIdentities, body: bytes, kind: str, status: int
) -> None:
    async with client(signing_in(provider, identities)) as http:
        answer = await http.post(PATH, content=body, headers={"content-type": kind})
    assert answer.status_code == status


async def test_no_page_can_send_one(provider: OidcProvider, identities: FakeIdentities) -> None:
    async with client(signing_in(provider, identities)) as http:
        answer = await post(http, provider.key.sign(logout(provider)), headers={"origin": "https://evil.test"})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin")


async def test_without_a_provider_there_is_no_such_address() -> None:
    async with client(app()) as http:
        assert (await post(http, "x")).status_code == 404


async def test_a_session_of_a_guest_is_not_the_providers(provider: OidcProvider, identities: FakeIdentities) -> None:
    asgi = app(identities=identities, auth_modes="guest,oidc", oidc_issuer=provider.issuer, oidc_client_id=CLIENT_ID)
    async with client(asgi) as http:
        assert (await http.post("/v1/session", json={})).status_code == 200
        assert (await post(http, provider.key.sign(logout(provider)))).status_code == 200
    (left,) = identities.sessions.values()
    assert isinstance(left, Principal)
    assert left.user.issuer is None
