"""The Python client renews its access token in silence, and reports once that it is signed out."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from parley_client import Api, ConnectionRefused, ParleyClient, Problem, SignedOut

CHAT = "0190a000-0000-7000-8000-00000000000c"
URL = "http://chat.test"


class Gateway:
    """A gateway that knows one session, by its cookie and its newest access tokens.

    Attributes:
        seen: Method, path, and what authenticated each request.
        ended: The session was revoked.
        life: Seconds that an access token is valid, as the response states.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.origins: list[str | None] = []
        self.good: set[str] = {"pk_abcdefgh_secret"}
        self.ended = False
        self.life = 600.0
        self.sets_cookie = True
        self._tokens = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        cookie = request.headers.get("cookie", "")
        self.seen.append((request.method, request.url.path, bearer or cookie))
        self.origins.append(request.headers.get("origin"))
        good = not self.ended and (bearer in self.good or cookie == "parley_session_1=secret")
        if request.url.path == "/v1/session" and not self.ended and (good or not (bearer or cookie)):
            return self._session()
        if not good:
            return self._problem("session_ended" if self.ended else "token_expired")
        return httpx.Response(200, json={"items": [], "next": None})

    def _session(self) -> httpx.Response:
        self._tokens += 1
        token = f"token-{self._tokens}"
        self.good.add(token)
        expires_at = datetime.now(UTC) + timedelta(seconds=self.life)
        body = {"user_id": "ann", "access_token": token, "expires_at": expires_at.isoformat()}
        headers = {"set-cookie": "parley_session_1=secret; HttpOnly; Path=/"} if self.sets_cookie else {}
        return httpx.Response(200, json=body, headers=headers)

    def _problem(self, code: str) -> httpx.Response:
        body = json.dumps({"title": "Unauthorized", "detail": "Sign in again.", "code": code}).encode()
        return httpx.Response(401, content=body)

    def requests(self, path: str) -> list[str]:
        return [by for _, seen, by in self.seen if seen == path]


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    gateway = Gateway()
    real: Callable[..., httpx.AsyncClient] = httpx.AsyncClient

    def client(**arguments: Any) -> httpx.AsyncClient:
        return real(**arguments, transport=httpx.MockTransport(gateway))

    monkeypatch.setattr(httpx, "AsyncClient", client)
    return gateway


async def test_a_guest_s_session_begins_with_the_first_request(gateway: Gateway) -> None:
    async with Api(URL) as api:
        await api.chats()
        await api.chats()
    assert gateway.seen == [("POST", "/v1/session", ""), *2 * [("GET", "/v1/chats", "token-1")]]
    assert api.cookies == {"parley_session_1": "secret"}


async def test_an_access_token_is_renewed_with_the_cookie_when_it_has_expired(gateway: Gateway) -> None:
    async with Api(URL) as api:
        await api.chats()
        gateway.good.clear()
        await api.chats()
    assert gateway.requests("/v1/chats") == ["token-1", "token-1", "token-2"]
    assert gateway.requests("/v1/session") == ["", "parley_session_1=secret"]
    assert gateway.origins[3] == URL, "what a request with a cookie is checked by"


async def test_an_access_token_is_renewed_before_it_expires(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("parley_client.session.time", SimpleNamespace(monotonic=lambda: now))
    async with Api(URL) as api:
        await api.chats()
        now += 530
        await api.chats()
        assert gateway.requests("/v1/session") == [""]
        now += 20
        await api.chats()
    assert gateway.requests("/v1/session") == ["", "parley_session_1=secret"]
    assert gateway.requests("/v1/chats") == ["token-1", "token-1", "token-2"]


async def test_without_a_cookie_the_token_renews_itself(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("parley_client.session.time", SimpleNamespace(monotonic=lambda: now))
    gateway.sets_cookie = False
    gateway.good.add("given")
    async with Api(URL, access_token="given") as api:
        await api.chats()
        now += 301
        await api.chats()
        now += 541
        await api.chats()
    assert gateway.requests("/v1/session") == ["given", "token-1"]
    assert gateway.requests("/v1/chats") == ["given", "token-1", "token-2"]


async def test_a_clock_that_is_wrong_does_not_renew_with_each_request(gateway: Gateway) -> None:
    gateway.life = -86_400.0
    async with Api(URL) as api:
        for _ in range(10):
            await api.chats()
    assert len(gateway.requests("/v1/session")) == 1


async def test_a_later_client_goes_on_with_the_cookies(gateway: Gateway) -> None:
    async with Api(URL, cookies={"parley_session_1": "secret"}) as api:
        await api.chats()
    assert gateway.seen[0] == ("POST", "/v1/session", "parley_session_1=secret")


async def test_a_session_that_has_ended_is_reported_without_another_request(gateway: Gateway) -> None:
    async with Api(URL) as api:
        await api.chats()
        gateway.ended = True
        for _ in range(3):
            with pytest.raises(SignedOut, match="Sign in again") as refused:
                await api.chats()
            assert refused.value.code == "session_ended"
        assert len(gateway.seen) == 4  # a session, a list, a refused list, a refused renewal
        api.forget_session()
        gateway.ended = False
        await api.chats()
    assert gateway.seen[4] == ("POST", "/v1/session", "")


async def test_an_api_key_needs_no_session_and_is_never_renewed(gateway: Gateway) -> None:
    async with Api(URL, api_key="pk_abcdefgh_secret") as api:
        await api.chats()
        gateway.ended = True
        for _ in range(2):
            with pytest.raises(SignedOut):
                await api.chats()
        with pytest.raises(ValueError, match="without a session"):
            await api.begin_session()
    assert gateway.seen == 2 * [("GET", "/v1/chats", "pk_abcdefgh_secret")]


async def test_a_stream_is_read_again_after_a_renewal(gateway: Gateway) -> None:
    async with Api(URL) as api:
        await api.ensure_session()
        gateway.good.clear()
        lines: list[bytes] = []
        await api.stream(CHAT, None, lines.append)
        gateway.ended = True
        with pytest.raises(Problem) as refused:
            await api.stream(CHAT, None, lines.append)
    assert gateway.requests(f"/v1/chats/{CHAT}/stream") == ["token-1", "token-2", "token-2"]
    assert isinstance(refused.value, SignedOut)


@pytest.mark.parametrize("transport", [None, "events"])
async def test_a_watch_fails_once_when_the_session_has_ended(gateway: Gateway, transport: Any) -> None:
    gateway.ended = True
    async with ParleyClient(URL, cookies={"parley_session_1": "secret"}, transport=transport) as client:
        async with client.watch(CHAT) as watch:
            with pytest.raises(ConnectionRefused) as refused:
                await watch.until(lambda _: None, timeout=10)
        assert refused.value.code in (4410, "session_ended")
    assert len(gateway.seen) == 1
