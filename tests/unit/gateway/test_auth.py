"""Sessions, tokens, cookies, and the protection against other sites."""

import time
from datetime import UTC, datetime

import jwt
import pytest

from parley.contracts.access.identity import digest
from parley.runtime import tokens
from parley.runtime.tokens import KeyRing, cookie_name
from tests.support.chat_store.identities import FakeIdentities
from tests.unit.gateway.apps import KEY, SECRET, SESSION_ID, USER, app, client, token

COOKIE = cookie_name(KEY)
CHAT = "0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a12"


def earlier_token(*, key: str = KEY, seconds: float = 86400.0) -> str:
    """What cookies contained, and programs sent, before sessions were rows."""
    return jwt.encode({"sub": USER, "aud": "session", "exp": int(time.time() + seconds)}, key)


def unsigned(audience: str) -> str:
    return jwt.encode({"sub": USER, "aud": audience, "sid": SESSION_ID, "exp": 4_000_000_000}, "", algorithm="none")


async def test_a_guest_gets_an_access_token_and_a_secret_as_an_http_only_cookie() -> None:
    identities = FakeIdentities()
    async with client(app(identities=identities)) as http:
        answer = await http.post("/v1/session", json={})
    assert answer.status_code == 200
    session = answer.json()
    assert set(session) == {"user_id", "access_token", "expires_at", "user", "new_guest"}
    assert 590 < (datetime.fromisoformat(session["expires_at"]) - datetime.now(UTC)).total_seconds() <= 600
    assert session["user"]["guest"] is True
    cookie = answer.headers["set-cookie"]
    secret = cookie.partition("=")[2].partition(";")[0]
    assert len(secret) == 43
    assert [*identities.sessions] == [digest(secret)], "chat-store gets only the digest"
    assert secret not in answer.text
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie


async def test_over_https_the_cookie_goes_over_https_only() -> None:
    async with client(app()) as http:
        answer = await http.post("https://chat.test/v1/session", json={})
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize("said", ["https", "https,http", "https, https", "HTTPS", "http", "http, https", ""])
async def test_a_trusted_proxy_says_what_the_browsers_scheme_is(said: str) -> None:
    headers = {"x-forwarded-proto": said}  # of several proxies, each may append its own
    async with client(app(trusted_proxies="127.0.0.1"), headers=headers) as http:
        answer = await http.post("/v1/session", json={})
    assert ("Secure" in answer.headers["set-cookie"]) is said.lower().startswith("https")
    async with client(app(), headers=headers) as http:
        answer = await http.post("/v1/session", json={})
    assert "Secure" not in answer.headers["set-cookie"], "it is not trusted"


async def test_where_the_public_address_is_https_the_cookie_goes_over_https_only() -> None:
    async with client(app(public_url="https://chat.example.com")) as http:
        answer = await http.post("/v1/session", json={})
    assert "Secure" in answer.headers["set-cookie"]


async def test_two_guests_are_two_users() -> None:
    async with client(app()) as one, client(app()) as other:
        assert (await one.post("/v1/session")).json()["user_id"] != (await other.post("/v1/session")).json()["user_id"]


async def test_a_session_is_renewed_by_cookie_and_by_bearer_token() -> None:
    async with client(app()) as http:
        first = (await http.post("/v1/session", json={})).json()
        by_cookie = (await http.post("/v1/session", json={})).json()
        http.cookies.clear()
        bearer = {"authorization": f"Bearer {first['access_token']}"}
        by_bearer = (await http.post("/v1/session", headers=bearer)).json()
    assert first["user_id"] == by_cookie["user_id"] == by_bearer["user_id"]
    assert first["user"]["session_id"] == by_cookie["user"]["session_id"] == by_bearer["user"]["session_id"]
    assert [session["new_guest"] for session in (first, by_cookie, by_bearer)] == [True, False, False]


@pytest.mark.parametrize("name", [COOKIE, "parley_session"])
@pytest.mark.parametrize(
    "cookie", ["forged", "x" * 43, earlier_token(key="x" * 40), earlier_token(seconds=-11), unsigned("session")]
)
async def test_an_invalid_cookie_is_replaced_only_on_request(cookie: str, name: str) -> None:
    async with client(app(), cookies={name: cookie}) as http:
        for method, path in (("POST", "/v1/session"), ("GET", "/v1/chats"), ("POST", "/v1/push-ticket")):
            answer = await http.request(method, path, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")
            assert "set-cookie" not in answer.headers
        anew = await http.post("/v1/session", json={"start_over": True})
        assert anew.status_code == 200
        assert anew.json()["user_id"] != USER
        again = await http.post("/v1/session", json={})
        assert again.json()["user_id"] == anew.json()["user_id"]


@pytest.mark.parametrize("name", [COOKIE, "parley_session"])
async def test_a_cookie_from_before_sessions_is_exchanged_for_a_session_of_its_user(name: str) -> None:
    identities = FakeIdentities()
    async with client(app(identities=identities), cookies={name: earlier_token()}) as http:
        answer = await http.get("/v1/chats")
        assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")
        answer = await http.post("/v1/session", json={})
        assert (answer.json()["user_id"], answer.json()["new_guest"]) == (USER, False)
        assert answer.headers["set-cookie"].startswith(f"{COOKIE}=")
        again = await http.post("/v1/session", json={})
    assert again.json()["user"]["session_id"] == answer.json()["user"]["session_id"]
    assert len(identities.sessions) == 1


async def test_a_token_from_before_sessions_is_exchanged_too() -> None:
    async with client(app(), headers={"authorization": f"Bearer {earlier_token()}"}) as http:
        assert (await http.get("/v1/chats")).json()["code"] == "token_invalid"
        assert (await http.post("/v1/session")).json()["user_id"] == USER


@pytest.mark.parametrize("path", ["/v1/chats", f"/v1/chats/{CHAT}/messages"])
async def test_a_request_meant_for_another_user_is_refused(path: str) -> None:
    async with client(app(), cookies={COOKIE: SECRET}) as http:
        answer = await http.post(path, json={"content": "Hello"}, headers={"parley-user": CHAT})
        assert answer.status_code == 412
        assert answer.json()["code"] == "other_user"
        # The bus is away in this test: whoever is meant gets as far as that.
        assert (await http.post(path, json={"content": "Hello"}, headers={"parley-user": USER})).status_code == 503


async def test_starting_over_keeps_a_valid_session() -> None:
    async with client(app(), cookies={COOKIE: SECRET}) as http:
        answer = await http.post("/v1/session", json={"start_over": True})
    assert answer.json()["user_id"] == USER


async def test_two_installations_on_one_host_use_different_cookies() -> None:
    one, other = app(), app(secret_key="o" * 40)
    async with client(one) as http:
        first = await http.post("/v1/session", json={})
        async with client(other, cookies=http.cookies) as neighbour:
            second = await neighbour.post("/v1/session", json={})
            assert second.status_code == 200
            async with client(one, cookies=neighbour.cookies) as back:
                again = await back.post("/v1/session", json={})
    assert first.json()["user_id"] != second.json()["user_id"]
    assert again.json()["user_id"] == first.json()["user_id"]


async def test_a_cookie_from_a_gateway_whose_clock_is_ahead_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ahead = jwt.encode(
        {"sub": USER, "aud": "session", "iat": int(time.time()) + 60, "exp": int(time.time()) + 600}, KEY
    )
    monkeypatch.setattr(tokens, "_noted", set())
    async with client(app(), cookies={COOKIE: ahead}) as http:
        answer = await http.post("/v1/session", json={"start_over": True})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("authorization", ["Basic dTpw", "Negotiate abc", "Digest username=u", ""])
async def test_an_authorization_scheme_of_a_proxy_does_not_override_the_cookie(authorization: str) -> None:
    headers = {"authorization": authorization}
    async with client(app(), cookies={COOKIE: SECRET}, headers=headers) as http:
        assert (await http.post("/v1/session", json={})).json()["user_id"] == USER
    async with client(app(), headers=headers) as http:
        assert (await http.get("/v1/models")).json()["code"] == "not_authenticated"
        assert (await http.post("/v1/session", json={})).status_code == 200


async def test_without_guests_only_existing_sessions_are_renewed() -> None:
    async with client(app(auth_modes="api-key")) as http:
        answer = await http.post("/v1/session", json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "guests_not_allowed")
        answer = await http.post("/v1/session", headers={"authorization": f"Bearer {token()}"})
        assert answer.json()["user_id"] == USER


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("Bearer forged", "token_invalid"),
        ("Bearer ", "token_invalid"),
        (f"Bearer {unsigned('access')}", "token_invalid"),
        (f"Bearer {token(key='x' * 40)}", "token_invalid"),
        (f"Bearer {KeyRing([KEY]).issue('ticket', USER, 86400.0)[0]}", "token_invalid"),
        (f"Bearer {token(seconds=-11)}", "token_expired"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/chats"), ("POST", "/v1/push-ticket"), ("POST", "/v1/session")]
)
async def test_an_invalid_token_is_a_401_with_the_reason(method: str, path: str, authorization: str, code: str) -> None:
    async with client(app()) as http:
        answer = await http.request(method, path, headers={"authorization": authorization})
    assert answer.status_code == 401
    assert answer.json()["code"] == code
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_without_a_session_every_read_is_a_401() -> None:
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
        ({"content-type": "application/json", "sec-fetch-site": "cross-site"}, 403, "cross_origin"),
        ({"content-type": "application/json", "sec-fetch-site": "same-site"}, 403, "cross_origin"),
        (
            {"content-type": "application/json", "sec-fetch-site": "cross-site", "origin": "http://chat.test"},
            403,
            "cross_origin",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/v1/push-ticket", "/v1/session", f"/v1/chats/{CHAT}/stop"])
async def test_another_site_cannot_write_with_our_cookie(
    path: str, headers: dict[str, str], status: int, code: str
) -> None:
    async with client(app(), cookies={COOKIE: SECRET}) as http:
        answer = await http.post(path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("origin", [None, "http://chat.test", "https://chat.test", "https://partner.test"])
async def test_our_own_page_and_allowed_origins_can_write(origin: str | None) -> None:
    headers = {"content-type": "application/json"} | ({"origin": origin} if origin else {})
    async with client(app(allowed_origins="https://partner.test"), cookies={COOKIE: SECRET}) as http:
        answer = await http.post("/v1/push-ticket", headers=headers, content=b"{}")
    assert answer.status_code == 200


@pytest.mark.parametrize("cookies", [{}, {COOKIE: SECRET}], ids=["a stranger", "a guest"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.test", "content-type": "application/x-www-form-urlencoded"},
        {"origin": "http://evil.test", "content-type": "text/plain"},
        {"origin": "http://evil.test", "content-type": "multipart/form-data; boundary=x"},
        {"origin": "http://evil.test", "content-type": "application/json"},
        {"origin": "http://evil.test"},
        {"origin": "null", "content-type": "application/json"},
        {"sec-fetch-site": "cross-site", "content-type": "application/json"},
        {"content-type": "application/x-www-form-urlencoded"},
    ],
)
async def test_another_site_cannot_end_or_begin_a_session(headers: dict[str, str], cookies: dict[str, str]) -> None:
    async with client(app(), cookies=cookies) as http:
        answer = await http.post("/v1/session", headers=headers)
    assert answer.status_code in (403, 415)
    assert "set-cookie" not in answer.headers


async def test_our_own_page_can_write_behind_a_proxy_that_changes_the_host() -> None:
    headers = {"sec-fetch-site": "same-origin", "origin": "https://chat.example.com"}
    async with client(app(), cookies={COOKIE: SECRET}, headers=headers) as http:
        assert (await http.post("/v1/push-ticket", json={})).status_code == 200


async def test_a_bearer_token_needs_no_csrf_check() -> None:
    async with client(app(), headers={"authorization": f"Bearer {token()}"}) as http:
        answer = await http.post("/v1/push-ticket", headers={"origin": "http://other.test"})
    assert answer.status_code == 200


async def test_only_allowed_origins_get_cors_headers() -> None:
    preflight = {"origin": "https://partner.test", "access-control-request-method": "POST"}
    async with client(app()) as http:
        answer = await http.options("/v1/chats", headers=preflight)
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers
    async with client(app(allowed_origins="https://partner.test")) as http:
        answer = await http.options("/v1/chats", headers=preflight)
        assert answer.headers["access-control-allow-origin"] == "https://partner.test"
        assert "POST" in answer.headers["access-control-allow-methods"]


async def test_a_page_of_an_allowed_origin_may_send_any_header() -> None:
    asked = "authorization,content-type,idempotency-key,parley-when-busy,x-stainless-os"
    preflight = {"origin": "https://partner.test", "access-control-request-method": "POST"}
    async with client(app(allowed_origins="https://partner.test")) as http:
        answer = await http.options("/ai-sdk/chat", headers=preflight | {"access-control-request-headers": asked})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-headers"] == asked


async def test_a_page_of_an_allowed_origin_can_read_every_refusal() -> None:
    page = app(allowed_origins="https://partner.test", requests_per_second_per_address=1, requests_burst_per_address=2)
    headers = {"origin": "https://partner.test", "content-type": "application/json"}
    async with client(page, headers=headers) as http:
        answers = [
            await http.post("/v1/chats", content=b"{}"),
            await http.post("/v1/chats", content=b" " * 1_000_000),
            await http.post("/v1/chats", content=b"{}"),
        ]
    assert [answer.status_code for answer in answers] == [401, 413, 429]
    assert {answer.headers.get("access-control-allow-origin") for answer in answers} == {"https://partner.test"}


async def test_a_user_who_writes_too_fast_gets_a_retry_after() -> None:
    async with client(
        app(writes_burst=2, writes_per_second=0.1), headers={"authorization": f"Bearer {token()}"}
    ) as http:
        statuses = [(await http.post("/v1/push-ticket")).status_code for _ in range(3)]
        answer = await http.post("/v1/push-ticket")
    assert statuses == [200, 200, 429]
    assert answer.json()["code"] == "too_many"
    assert 9 <= int(answer.headers["retry-after"]) <= 10


async def test_new_guests_of_one_address_are_limited_and_returning_ones_are_not() -> None:
    async with client(app(guests_burst=2, guests_per_second=0.1)) as http:
        for status in (200, 200, 429):
            http.cookies.clear()
            assert (await http.post("/v1/session", json={})).status_code == status
        answer = await http.post("/v1/session", headers={"authorization": f"Bearer {token()}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("expires_at", ["2020-01-01T00:00:00Z", "2030-01-01T00:00:00", "9999-12-31T23:59:59-14:00"])
async def test_an_api_key_ends_at_a_time_to_come(expires_at: str) -> None:
    async with client(app(), headers={"authorization": f"Bearer {token()}"}) as http:
        body = {"name": "a key", "scopes": ["read"], "expires_at": expires_at}
        assert (await http.post("/v1/api-keys", json=body)).status_code == 422
