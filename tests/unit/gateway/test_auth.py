"""Who is asking, and whether it is our own page that asks."""

from datetime import UTC, datetime

import jwt
import pytest

from parley.runtime.tokens import issue
from tests.unit.gateway.apps import KEY, app, client

USER = "0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11"
CHAT = "0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a12"


def token(*, key: str = KEY, seconds: float = 86400.0) -> str:
    return issue(key, "session", USER, seconds)[0]


def unsigned() -> str:
    return jwt.encode({"sub": USER, "aud": "session", "exp": 4_000_000_000}, None, algorithm="none")


async def test_a_guest_gets_a_token_and_the_same_as_a_cookie_that_scripts_cannot_read() -> None:
    async with client(app()) as http:
        answer = await http.post("/v1/session", json={})
    assert answer.status_code == 200
    session = answer.json()
    assert set(session) == {"user_id", "access_token", "expires_at"}
    assert datetime.fromisoformat(session["expires_at"]) > datetime.now(UTC)
    cookie = answer.headers["set-cookie"]
    assert f"parley_session={session['access_token']}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie


async def test_over_https_the_cookie_goes_over_https_only() -> None:
    async with client(app()) as http:
        answer = await http.post("https://chat.test/v1/session", json={})
    assert "Secure" in answer.headers["set-cookie"]


async def test_two_guests_are_two_users() -> None:
    async with client(app()) as one, client(app()) as other:
        assert (await one.post("/v1/session")).json()["user_id"] != (await other.post("/v1/session")).json()["user_id"]


async def test_a_session_goes_on_by_cookie_and_by_bearer() -> None:
    async with client(app()) as http:
        first = (await http.post("/v1/session", json={})).json()
        by_cookie = (await http.post("/v1/session", json={})).json()
        http.cookies.clear()
        bearer = {"authorization": f"Bearer {first['access_token']}"}
        by_bearer = (await http.post("/v1/session", headers=bearer)).json()
    assert first["user_id"] == by_cookie["user_id"] == by_bearer["user_id"]


@pytest.mark.parametrize("cookie", ["forged", token(key="x" * 40), token(seconds=-1), unsigned()])
async def test_a_page_with_a_cookie_that_is_no_good_starts_anew(cookie: str) -> None:
    async with client(app(), cookies={"parley_session": cookie}) as http:
        answer = await http.post("/v1/session", json={})
    assert answer.status_code == 200
    assert answer.json()["user_id"] != USER


async def test_where_guests_are_not_admitted_only_who_has_a_session_goes_on() -> None:
    async with client(app(guests=False)) as http:
        answer = await http.post("/v1/session", json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "guests_not_allowed")
        answer = await http.post("/v1/session", headers={"authorization": f"Bearer {token()}"})
        assert answer.json()["user_id"] == USER


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("Bearer forged", "token_invalid"),
        ("Bearer ", "token_invalid"),
        ("Basic dTpw", "token_invalid"),
        (f"Bearer {unsigned()}", "token_invalid"),
        (f"Bearer {token(key='x' * 40)}", "token_invalid"),
        (f"Bearer {issue(KEY, 'ticket', USER, 86400.0)[0]}", "token_invalid"),
        (f"Bearer {token(seconds=-1)}", "token_expired"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/chats"), ("POST", "/v1/push-ticket"), ("POST", "/v1/session")]
)
async def test_a_token_that_is_no_good_is_told_so(method: str, path: str, authorization: str, code: str) -> None:
    async with client(app()) as http:
        answer = await http.request(method, path, headers={"authorization": authorization})
    assert answer.status_code == 401
    assert answer.json()["code"] == code
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_without_a_session_there_is_nothing_to_see() -> None:
    async with client(app()) as http:
        for path in ("/v1/chats", "/v1/models", "/v1/usage", "/v1/search?q=x", f"/v1/chats/{CHAT}/stream"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


async def test_a_ticket_is_for_push_and_lasts_a_minute() -> None:
    async with client(app(), headers={"authorization": f"Bearer {token()}"}) as http:
        answer = (await http.post("/v1/push-ticket")).json()
    claims = jwt.decode(answer["ticket"], KEY, algorithms=["HS256"], audience="ticket")
    assert claims["sub"] == USER
    assert 58 <= claims["exp"] - claims["iat"] <= 61


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 415, "unsupported_media_type"),
        ({"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        ({"content-type": "application/json", "origin": "http://evil.test"}, 403, "cross_origin"),
        ({"content-type": "application/json", "origin": "http://chat.test:81"}, 403, "cross_origin"),
        ({"content-type": "application/json", "origin": "null"}, 403, "cross_origin"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/push-ticket", "/v1/session", f"/v1/chats/{CHAT}/stop"])
async def test_another_site_cannot_write_with_our_cookie(
    path: str, headers: dict[str, str], status: int, code: str
) -> None:
    async with client(app(), cookies={"parley_session": token()}) as http:
        answer = await http.post(path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("origin", [None, "http://chat.test", "https://chat.test", "https://partner.test"])
async def test_our_own_page_and_those_that_are_allowed_can(origin: str | None) -> None:
    headers = {"content-type": "application/json"} | ({"origin": origin} if origin else {})
    async with client(app(allowed_origins="https://partner.test"), cookies={"parley_session": token()}) as http:
        answer = await http.post("/v1/push-ticket", headers=headers, content=b"{}")
    assert answer.status_code == 200


async def test_a_program_with_a_bearer_token_need_not_say_all_that() -> None:
    async with client(app(), headers={"authorization": f"Bearer {token()}"}) as http:
        answer = await http.post("/v1/push-ticket", headers={"origin": "http://other.test"})
    assert answer.status_code == 200


async def test_other_origins_are_told_nothing_unless_they_are_allowed() -> None:
    preflight = {"origin": "https://partner.test", "access-control-request-method": "POST"}
    async with client(app()) as http:
        answer = await http.options("/v1/chats", headers=preflight)
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers
    async with client(app(allowed_origins="https://partner.test")) as http:
        answer = await http.options("/v1/chats", headers=preflight)
        assert answer.headers["access-control-allow-origin"] == "https://partner.test"
        assert "POST" in answer.headers["access-control-allow-methods"]


async def test_who_writes_too_fast_is_told_when_to_go_on() -> None:
    async with client(
        app(writes_burst=2, writes_per_second=0.1), headers={"authorization": f"Bearer {token()}"}
    ) as http:
        statuses = [(await http.post("/v1/push-ticket")).status_code for _ in range(3)]
        answer = await http.post("/v1/push-ticket")
    assert statuses == [200, 200, 429]
    assert answer.json()["code"] == "too_many"
    assert 9 <= int(answer.headers["retry-after"]) <= 10


async def test_new_guests_from_one_address_are_limited_but_not_those_who_come_back() -> None:
    async with client(app(guests_burst=2, guests_per_second=0.1)) as http:
        for status in (200, 200, 429):
            http.cookies.clear()
            assert (await http.post("/v1/session", json={})).status_code == status
        answer = await http.post("/v1/session", headers={"authorization": f"Bearer {token()}"})
    assert answer.status_code == 200
