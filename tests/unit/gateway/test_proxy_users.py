"""Users whom a proxy names by headers (``AUTH_MODES=proxy``)."""

from typing import Any

import httpx
import pytest

from parley.runtime.tokens import cookie_name
from tests.support.chat_store.identities import FakeIdentities
from tests.unit.gateway.apps import KEY, SECRET, app, with_session

COOKIE = cookie_name(KEY)
PROXY = "10.1.0.7"
ADA = {"x-forwarded-user": "ada", "x-forwarded-email": "ada@example.com", "x-forwarded-groups": "staff, admins"}


def behind_proxy(identities: FakeIdentities | None = None, **more: object) -> Any:
    settings = {"auth_modes": "proxy", "auth_proxy_networks": "10.1.0.0/16", **more}
    return app(identities=identities or FakeIdentities(), **settings)


def client(asgi: Any, peer: str = PROXY, **more: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(asgi, client=(peer, 1)), base_url="http://chat.test", **more)


async def test_the_proxy_names_the_user() -> None:
    async with client(behind_proxy(auth_proxy_admin_group="admins"), headers=ADA) as http:
        me = (await http.get("/v1/me")).json()
        other = (await http.get("/v1/me", headers={"x-forwarded-user": "grace"})).json()
    assert (me["email"], me["groups"], me["role"]) == ("ada@example.com", ["staff", "admins"], "administrator")
    assert other["user_id"] != me["user_id"]


async def test_names_may_have_any_letter() -> None:
    headers = {b"x-forwarded-user": b"ada", b"x-forwarded-preferred-username": "Zoë".encode()}
    async with client(behind_proxy(), headers=headers) as http:
        assert (await http.get("/v1/me")).json()["name"] == "Zoë"


async def test_a_group_is_not_shortened_to_the_name_of_another() -> None:
    groups = "g" * 313 + ",admins-of-printers"  # the first 320 characters end with "admins"
    async with client(behind_proxy(auth_proxy_admin_group="admins")) as http:
        me = (await http.get("/v1/me", headers={**ADA, "x-forwarded-groups": groups})).json()
    assert (me["role"], me["groups"]) == ("user", ["g" * 313, "admins-of-printers"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller".encode("latin-1"), "Möller".encode("latin-1")),
        (b"CN=" + b"a" * 400 + b"1", b"CN=" + b"a" * 400 + b"2"),
    ],
)
async def test_two_ids_are_two_users_however_they_are_encoded_and_long(one: bytes, other: bytes) -> None:
    async with client(behind_proxy()) as http:
        ids = [
            (await http.get("/v1/me", headers={b"x-forwarded-user": each})).json()["user_id"] for each in (one, other)
        ]
    assert ids[0] != ids[1]


async def test_an_id_that_is_too_long_is_refused() -> None:
    async with client(behind_proxy(), headers={"x-forwarded-user": "a" * 513}) as http:
        answer = await http.get("/v1/me")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


async def test_the_header_of_anybody_else_is_ignored() -> None:
    async with client(behind_proxy(), "192.0.2.1", headers=ADA) as http:
        assert (await http.get("/v1/me")).status_code == 401


async def test_the_connections_own_address_counts_not_a_forwarded_one() -> None:
    asgi = behind_proxy(trusted_proxies="192.0.2.0/24")
    async with client(asgi, "192.0.2.1", headers={**ADA, "x-forwarded-for": PROXY}) as http:
        assert (await http.get("/v1/me")).status_code == 401
    asgi = behind_proxy(trusted_proxies="10.1.0.0/16")
    async with client(asgi, headers={**ADA, "x-forwarded-for": "198.51.100.1"}) as http:
        assert (await http.get("/v1/me")).status_code == 200


async def test_a_header_that_comes_twice_names_nobody() -> None:
    headers = [("x-forwarded-user", "mallory"), ("x-forwarded-user", "ada")]
    async with client(behind_proxy(), headers=headers) as http:
        assert (await http.get("/v1/me")).status_code == 401


async def test_without_the_mode_the_header_is_ignored() -> None:
    async with client(app(), headers=ADA) as http:
        assert (await http.get("/v1/me")).status_code == 401


async def test_the_page_gets_a_session_of_the_named_user() -> None:
    identities = FakeIdentities()
    async with client(behind_proxy(identities), headers=ADA) as http:
        first = (await http.post("/v1/session", json={})).json()
        again = (await http.post("/v1/session", json={})).json()
        me = (await http.get("/v1/me")).json()
    assert (first["user"]["guest"], first["new_guest"]) == (False, False)
    assert first["user"]["session_id"] == again["user"]["session_id"] == me["session_id"]
    assert len(identities.sessions) == 1


async def test_the_named_user_goes_before_a_cookie_of_somebody_else() -> None:
    async with client(behind_proxy(with_session()), headers=ADA, cookies={COOKIE: SECRET}) as http:
        assert (await http.get("/v1/me")).json()["email"] == "ada@example.com"
        session = (await http.post("/v1/session", json={})).json()
    assert session["user"]["email"] == "ada@example.com"


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.test"}])
async def test_a_page_of_another_site_cannot_write_as_the_named_user(headers: dict[str, str]) -> None:
    async with client(behind_proxy(), headers={**ADA, **headers}) as http:
        answer = await http.post("/v1/chats", json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin")


async def test_a_disabled_user_is_refused() -> None:
    identities = FakeIdentities()
    async with client(behind_proxy(identities), headers=ADA) as http:
        await http.get("/v1/me")
    [user_id] = identities.users
    identities.change(user_id, disabled=True)
    async with client(behind_proxy(identities), headers=ADA) as http:
        answer = await http.get("/v1/me")
    assert (answer.status_code, answer.json()["code"]) == (403, "user_disabled")
