"""Sign-in with an OpenID provider."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gateway.auth import oidc, signing_keys
from parley.contracts.access.identity import digest
from parley.runtime.tokens import cookie_name
from tests.support.chat_store.identities import FakeIdentities
from tests.support.oidc_provider import CLIENT_ID, OidcProvider, SigningKey
from tests.unit.gateway.apps import KEY, SECRET, USER, app, client, with_session

COOKIE = cookie_name(KEY)


def states(http: httpx.AsyncClient) -> dict[str, str]:
    """The cookies of the sign-ins that are under way."""
    prefix = f"{COOKIE}_sign_in_"
    return {one.name: one.value or "" for one in http.cookies.jar if one.name.startswith(prefix)}


@pytest.fixture
async def provider() -> AsyncIterator[OidcProvider]:
    async with OidcProvider() as provider:
        yield provider


def signing_in(provider: OidcProvider, identities: FakeIdentities | None = None, **more: object) -> Any:
    return app(
        identities=identities or FakeIdentities(),
        auth_modes="oidc",
        oidc_issuer=provider.issuer,
        oidc_client_id=provider.client[0],
        oidc_client_secret=provider.client[1],
        oidc_name="Example ID",
        **more,
    )


async def begin(http: httpx.AsyncClient, provider: OidcProvider, return_to: str = "/") -> str:
    """Begin a sign-in, and sign in at the provider; return where that leads."""
    answer = await http.get("/v1/auth/oidc/login", params={"return_to": return_to})
    assert answer.status_code == 303
    return provider.authorize(answer.headers["location"])


async def sign_in(http: httpx.AsyncClient, provider: OidcProvider, return_to: str = "/") -> httpx.Response:
    return await http.get(await begin(http, provider, return_to))


def error_of(answer: httpx.Response) -> str:
    assert answer.status_code == 303
    assert f"{COOKIE}=" not in answer.headers.get("set-cookie", "")
    return parse_qs(urlsplit(answer.headers["location"]).query)["sign_in_error"][0]


async def test_a_user_signs_in_with_the_profile_that_the_provider_gives(provider: OidcProvider) -> None:
    async with client(signing_in(provider)) as http:
        answer = await sign_in(http, provider, "/#/chat")
        assert (answer.status_code, answer.headers["location"]) == (303, "/#/chat")
        session = (await http.post("/v1/session", json={})).json()
    assert (session["user"]["guest"], session["user"]["name"]) == (False, "Ada Lovelace")
    assert (session["user"]["email"], session["user"]["role"]) == ("ada@example.com", "user")
    assert session["new_guest"] is False


@pytest.mark.parametrize(
    ("client_id", "client_secret", "decodes"),
    [
        ("https://chat.example/", "a+b/c%2Fd=:\u00e9 \u0142", True),
        # A provider that does not decode has what it can have.
        ("parley.prod", "a/b=&?c:d", False),
    ],
)
async def test_a_client_may_have_any_id_and_secret(
    provider: OidcProvider, client_id: str, client_secret: str, decodes: bool
) -> None:
    provider.client, provider.decodes = (client_id, client_secret), decodes
    async with client(signing_in(provider)) as http:
        assert (await sign_in(http, provider)).headers["location"] == "/"


async def test_the_config_names_the_provider(provider: OidcProvider) -> None:
    async with client(signing_in(provider, base_path="/chat")) as http:
        auth = (await http.get("/chat/v1/config")).json()["auth"]
    assert auth == {"guest": False, "oidc": {"name": "Example ID", "login_url": "/chat/v1/auth/oidc/login"}}


async def test_without_the_mode_there_is_no_sign_in() -> None:
    async with client(app()) as http:
        assert (await http.get("/v1/auth/oidc/login")).status_code == 404
        assert (await http.get("/v1/auth/oidc/callback")).status_code == 404
        assert (await http.get("/v1/config")).json()["auth"]["oidc"] is None


async def test_nobody_becomes_a_guest_where_only_the_provider_signs_in(provider: OidcProvider) -> None:
    async with client(signing_in(provider)) as http:
        answer = await http.post("/v1/session", json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "guests_not_allowed")


async def test_the_cookies_are_http_only_and_the_state_is_removed(provider: OidcProvider) -> None:
    async with client(signing_in(provider)) as http:
        begun = await http.get("https://chat.test/v1/auth/oidc/login")
        state = begun.headers["set-cookie"]
        finished = await http.get(provider.authorize(begun.headers["location"]))
    assert all(part in state for part in ("HttpOnly", "SameSite=lax", "Secure", "Path=/v1/auth/oidc", "Max-Age=600"))
    cookies = finished.headers.get_list("set-cookie")
    assert all("HttpOnly" in cookie and "SameSite=lax" in cookie for cookie in cookies)
    assert [one for one in cookies if one.startswith(f"{COOKIE}=") and "Secure" in one]
    assert [one for one in cookies if one.startswith(f'{state.partition("=")[0]}="";')]
    assert [one for one in cookies if one.startswith(f"{COOKIE}_id=") and "Path=/v1/session;" in one]


async def test_a_guest_who_signs_in_stays_the_same_user(provider: OidcProvider) -> None:
    identities = with_session()
    async with client(signing_in(provider, identities), cookies={COOKIE: SECRET}) as http:
        await sign_in(http, provider)
        # The cookie jar has the guest's without a domain, and the new one.
        cookie = next(one.value for one in http.cookies.jar if one.name == COOKIE and one.value != SECRET)
    assert identities.users[USER].subject == "ada"
    assert digest(SECRET) not in identities.sessions, "the guest's session has ended"
    assert identities.sessions[digest(cookie or "")].user.id == USER


@pytest.mark.parametrize("subject", ["ada", "grace"])
async def test_the_session_before_ends_with_a_new_sign_in(provider: OidcProvider, subject: str) -> None:
    identities = FakeIdentities()
    async with client(signing_in(provider, identities)) as http:
        await sign_in(http, provider)
        stolen = http.cookies[COOKIE]
        provider.claims = {"sub": subject}
        await sign_in(http, provider)
        assert http.cookies[COOKIE] != stolen
        assert (await http.get("/v1/me")).status_code == 200
    assert digest(stolen) not in identities.sessions
    async with client(signing_in(provider, identities), cookies={COOKIE: stolen}) as http:
        assert (await http.get("/v1/me")).json()["code"] == "session_ended"


@pytest.mark.parametrize("path", ["https://evil.test/", "//evil.test", "/\\evil.test", "evil", "/\t/evil.test"])
async def test_a_sign_in_leads_back_to_this_host_only(provider: OidcProvider, path: str) -> None:
    async with client(signing_in(provider)) as http:
        assert (await http.get("/v1/auth/oidc/login", params={"return_to": path})).status_code == 422


async def test_the_redirect_address_is_the_public_one(provider: OidcProvider) -> None:
    async with client(signing_in(provider, public_url="https://chat.example.com", base_path="/chat")) as http:
        answer = await http.get("/chat/v1/auth/oidc/login")
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["redirect_uri"] == ["https://chat.example.com/chat/v1/auth/oidc/callback"]
    assert query["scope"] == ["openid profile email"]


async def test_a_callback_is_refused_in_a_browser_that_did_not_begin_the_sign_in(provider: OidcProvider) -> None:
    asgi = signing_in(provider)
    async with client(asgi) as attacker, client(asgi) as victim:
        callback = await begin(attacker, provider)
        assert error_of(await victim.get(callback)) == "expired"
        # Also when the victim has a sign-in of their own under way.
        await begin(victim, provider)
        assert error_of(await victim.get(callback)) == "expired"


async def test_a_state_is_good_once(provider: OidcProvider) -> None:
    async with client(signing_in(provider)) as http:
        callback = await begin(http, provider)
        cookies = states(http)
        assert (await http.get(callback)).headers["location"] == "/"
    async with client(signing_in(provider), cookies=cookies) as other_replica:
        assert error_of(await other_replica.get(callback)) == "failed", "the provider refuses the code"
        assert error_of(await other_replica.get(callback)) == "expired"


async def test_two_tabs_can_sign_in_at_once(provider: OidcProvider) -> None:
    async with client(signing_in(provider)) as http:
        first, second = await begin(http, provider, "/#/one"), await begin(http, provider, "/#/two")
        assert (await http.get(first)).headers["location"] == "/#/one"
        assert (await http.get(second)).headers["location"] == "/#/two"
        assert states(http) == {}


async def test_sign_ins_that_are_given_up_do_not_fill_the_browser(provider: OidcProvider) -> None:
    async with client(signing_in(provider)) as http:
        for _ in range(20):
            callback = await begin(http, provider)
        assert len(states(http)) == 5
        assert (await http.get(callback)).headers["location"] == "/"


async def test_an_altered_state_is_refused(provider: OidcProvider) -> None:
    async with client(signing_in(provider)) as http:
        callback = await begin(http, provider)
        forged = {name: value[:-3] + "AAA" for name, value in states(http).items()}
    async with client(signing_in(provider), cookies=forged) as http:
        assert error_of(await http.get(callback)) == "expired"


async def test_a_code_of_another_sign_in_is_refused(provider: OidcProvider) -> None:
    asgi = signing_in(provider)
    async with client(asgi) as one, client(asgi) as other:
        stolen = parse_qs(urlsplit(await begin(one, provider)).query)["code"][0]
        callback = urlsplit(await begin(other, provider))
        state = parse_qs(callback.query)["state"][0]
        answer = await other.get(f"{callback.path}?code={stolen}&state={state}")
    assert error_of(answer) == "failed", "the verifier is that of the other browser"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.test"},
        {"aud": "another-client"},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"nonce": "another"},
        {"exp": 1},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000},
    ],
)
async def test_an_id_token_for_somebody_else_is_refused(provider: OidcProvider, claims: dict[str, Any]) -> None:
    provider.claims |= claims
    async with client(signing_in(provider)) as http:
        assert error_of(await sign_in(http, provider)) == "failed"


async def test_an_id_token_of_an_unknown_key_is_refused(
    provider: OidcProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.key = SigningKey(provider.key.id)
    async with client(signing_in(provider)) as http:
        assert error_of(await sign_in(http, provider)) == "failed"
    assert "Signature verification failed" in caplog.text


async def test_user_info_of_somebody_else_is_refused(provider: OidcProvider) -> None:
    provider.info["sub"] = "mallory"
    async with client(signing_in(provider)) as http:
        assert error_of(await sign_in(http, provider)) == "failed"


async def test_the_response_of_another_provider_is_refused(provider: OidcProvider) -> None:
    async with client(signing_in(provider)) as http:
        callback = (await begin(http, provider)).partition("&iss=")[0]
        assert error_of(await http.get(f"{callback}&iss=https://evil.test")) == "failed"


async def test_the_provider_replaces_its_key_between_two_sign_ins(
    provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "REFETCH_SECONDS", 0.0)
    asgi = signing_in(provider)
    async with client(asgi) as http:
        assert (await sign_in(http, provider)).headers["location"] == "/"
        provider.rotate()
        assert (await sign_in(http, provider)).headers["location"] == "/"
    assert provider.fetches["/keys"] == 2


async def test_a_disabled_user_is_refused(provider: OidcProvider) -> None:
    identities = FakeIdentities()
    asgi = signing_in(provider, identities)
    async with client(asgi) as http:
        await sign_in(http, provider)
        [user_id] = identities.users
        identities.change(user_id, disabled=True)
    async with client(asgi) as http:
        answer = await sign_in(http, provider, "/?a=1#/chat")
    assert answer.headers["location"] == "/?a=1&sign_in_error=disabled#/chat"


@pytest.mark.parametrize(("error", "code"), [("access_denied", "access_denied"), ("invalid_scope", "failed")])
async def test_a_sign_in_that_the_provider_or_the_person_refuses_leads_back(
    provider: OidcProvider, error: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with client(signing_in(provider)) as http:
        callback = urlsplit(await begin(http, provider, "/#/chat"))
        state = parse_qs(callback.query)["state"][0]
        answer = await http.get(f"{callback.path}?error={error}&error_description=Not+so&state={state}")
    assert answer.headers["location"] == f"/?sign_in_error={code}#/chat"
    assert f"['{error}', 'Not so']" in caplog.text


async def test_a_sign_in_while_the_provider_is_down_leads_back(provider: OidcProvider) -> None:
    async with client(signing_in(provider)) as http:
        provider.down = True
        answer = await http.get("/v1/auth/oidc/login")
        assert error_of(answer) == "unavailable"
        provider.down = False
        callback = await begin(http, provider)
        provider.down = True
        assert error_of(await http.get(callback)) == "unavailable"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": None},
        {"issuer": "https://evil.test"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": ["https://id.test"]},
        {"jwks_uri": "keys"},
        {"id_token_signing_alg_values_supported": "RS256"},
    ],
)
async def test_metadata_that_cannot_be_used_lead_back(provider: OidcProvider, metadata: dict[str, Any]) -> None:
    provider.metadata = metadata
    async with client(signing_in(provider)) as http:
        assert error_of(await http.get("/v1/auth/oidc/login")) == "unavailable"
        provider.metadata = {}
        assert (await sign_in(http, provider)).headers["location"] == "/"


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token", "/userinfo"])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 100_000, b" " * 2_000_000 + b"{}", b'"\xff'])
async def test_a_provider_that_responds_with_anything_else_leads_back(
    provider: OidcProvider, path: str, body: bytes
) -> None:
    async with client(signing_in(provider)) as http:
        provider.bodies[path] = body
        begun = await http.get("/v1/auth/oidc/login")
        if "sign_in_error" not in begun.headers["location"]:
            begun = await http.get(provider.authorize(begun.headers["location"]))
    assert error_of(begun) in ("unavailable", "failed")


@pytest.mark.parametrize("path", ["/keys", "/token", "/userinfo"])
async def test_a_provider_that_sends_byte_by_byte_is_waited_for_so_long_only(
    provider: OidcProvider, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async with client(signing_in(provider)) as http:
        callback = await begin(http, provider)
        monkeypatch.setattr(signing_keys, "_FETCH_SECONDS", 0.5)
        monkeypatch.setattr(oidc, "_TIMEOUT", 0.5)
        provider.dripping = path
        async with asyncio.timeout(30):
            assert error_of(await http.get(callback)) == "unavailable"


@pytest.mark.parametrize("sub", ["", "a" * 513, "a\0", "a\ud800"])
async def test_a_user_whose_id_cannot_be_stored_is_led_back(provider: OidcProvider, sub: str) -> None:
    provider.claims = {"sub": sub}
    async with client(signing_in(provider)) as http:
        assert error_of(await sign_in(http, provider)) == "failed"


@pytest.mark.parametrize("sid", [7, "", "s" * 300, "s\0", "s\ud800"])
async def test_a_session_of_the_provider_that_no_logout_can_name_is_none(provider: OidcProvider, sid: object) -> None:
    identities = FakeIdentities()
    provider.claims = {"sub": "ada", "sid": sid}
    async with client(signing_in(provider, identities)) as http:
        assert (await sign_in(http, provider)).headers["location"] == "/"


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["staff", "parley-admins"]}, "administrator"),
        ({"groups": ["staff"]}, "user"),
        ({"groups": "parley-admins"}, "administrator"),
        ({}, "user"),
    ],
)
async def test_a_group_makes_administrators_at_each_sign_in(
    provider: OidcProvider, claims: dict[str, Any], role: str
) -> None:
    identities = FakeIdentities()
    asgi = signing_in(provider, identities, oidc_admin_group="parley-admins")
    provider.claims |= {"groups": ["parley-admins"]}
    async with client(asgi) as http:
        await sign_in(http, provider)
        provider.claims = {"sub": "ada", **claims}
        await sign_in(http, provider)
    [user] = identities.users.values()
    assert user.role == role


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["staff"]}}),
        # Keycloak: the roles of a client, by its id
        ("resource_access.chat.example.roles", {"resource_access": {"chat.example": {"roles": ["staff"]}}}),
        # Zitadel: an object, with the organizations that a role is of
        ("urn:zitadel:iam:org:project:roles", {"urn:zitadel:iam:org:project:roles": {"staff": {"27": "chat.example"}}}),
    ],
)
async def test_groups_may_be_within_another_claim(provider: OidcProvider, name: str, claims: dict[str, Any]) -> None:
    identities = FakeIdentities()
    provider.claims |= claims
    async with client(signing_in(provider, identities, oidc_groups_claim=name)) as http:
        await sign_in(http, provider)
    [user] = identities.users.values()
    assert user.groups == ["staff"]


async def test_an_address_that_was_not_verified_is_left_out(provider: OidcProvider) -> None:
    identities = FakeIdentities()
    provider.info["email_verified"] = False
    async with client(signing_in(provider, identities)) as http:
        await sign_in(http, provider)
    [user] = identities.users.values()
    assert user.email is None


@pytest.mark.parametrize("path", ["/v1/session", "/v1/sessions"])
async def test_signing_out_names_where_the_providers_session_ends(provider: OidcProvider, path: str) -> None:
    async with client(signing_in(provider)) as http:
        await sign_in(http, provider)
        answer = await http.delete(path)
        assert answer.status_code == 200, answer.text
        url = urlsplit(answer.json()["logout_url"])
        again = await http.get("/v1/me")
    query = parse_qs(url.query)
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{provider.issuer}/logout"
    assert query["client_id"] == [CLIENT_ID]
    assert query["post_logout_redirect_uri"] == ["http://chat.test/"]
    assert ("id_token_hint" in query) is (path == "/v1/session")
    assert again.status_code == 401


async def test_no_id_token_of_an_earlier_sign_in_is_a_hint(provider: OidcProvider) -> None:
    async with client(signing_in(provider)) as http:
        await sign_in(http, provider)
        provider.claims["groups"] = ["x" * 100 for _ in range(40)]  # too large for a cookie
        await sign_in(http, provider)
        answer = await http.delete("/v1/session")
    assert "id_token_hint" not in parse_qs(urlsplit(answer.json()["logout_url"]).query)
