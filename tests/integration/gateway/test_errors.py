"""Every invalid request is a documented problem, and none logs a traceback."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gateway.http.requests import MAX_BODY_BYTES
from parley.contracts import rpc
from parley.contracts.ids import new_id
from parley.contracts.limits import MAX_PROMPT_BYTES
from parley.runtime.tokens import KeyRing
from tests.integration.gateway.conftest import KEY, Running, User
from tests.support.chat_store.fake import FakeStore

NOBODYS = "0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11"
JSON = {"content-type": "application/json"}


@dataclass
class Wrong:
    """A request that must be refused. ``{mine}`` and ``{theirs}`` in the path are chats."""

    name: str
    method: str
    path: str
    status: int
    code: str
    body: Any = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def to_mine(name: str, status: int, code: str, **more: Any) -> Wrong:
    return Wrong(name, "POST", "/v1/chats/{mine}/messages", status, code, **more)


MESSAGES = "/v1/chats/{mine}/messages"
TABLE = [
    to_mine("not JSON", 400, "malformed", content=b"hello", headers=JSON),
    to_mine("half JSON", 400, "malformed", content=b'{"content": "x', headers=JSON),
    to_mine("not UTF-8", 400, "malformed", content=b'{"content": "\xff"}', headers=JSON),
    to_mine("nested without end", 400, "malformed", content=b'{"x":' + b"[" * 100_000, headers=JSON),
    to_mine("nothing at all", 400, "malformed", headers=JSON),
    to_mine("a form", 415, "unsupported_media_type", content=b"content=x", headers={"content-type": "text/plain"}),
    to_mine("no content type", 415, "unsupported_media_type", content=b'{"content":"x"}'),
    to_mine("a list", 422, "invalid", body=["x"]),
    to_mine("null", 422, "invalid", content=b"null", headers=JSON),
    to_mine("without content", 422, "invalid", body={}),
    to_mine("content that is a number", 422, "invalid", body={"content": 1}),
    to_mine("empty", 422, "empty_message", body={"content": ""}),
    to_mine("blank", 422, "empty_message", body={"content": " \n\t\u00a0\u2003"}),
    to_mine("a NUL", 422, "invalid", body={"content": "a\0b"}),
    to_mine("an id that is none", 422, "invalid", body={"content": "x", "id": "1"}),
    to_mine("an id in capitals", 422, "invalid", body={"content": "x", "id": NOBODYS.upper()}),
    to_mine("an id that is a subject", 422, "invalid", body={"content": "x", "id": "a.>"}),
    to_mine("a parent that is none", 422, "invalid", body={"content": "x", "parent_id": "root"}),
    to_mine("a model without a name", 422, "invalid", body={"content": "x", "model": ""}),
    to_mine("a model with too long a name", 422, "invalid", body={"content": "x", "model": "m" * 201}),
    to_mine("300 KB of text", 413, "too_large", body={"content": "x" * 300_000}),
    to_mine("one byte too long", 413, "too_large", body={"content": "x" * (MAX_PROMPT_BYTES + 1)}),
    to_mine("too long in bytes alone", 413, "too_large", body={"content": "ü" * (MAX_PROMPT_BYTES // 2 + 1)}),
    to_mine("a body without measure", 413, "too_large", content=b" " * (MAX_BODY_BYTES + 1), headers=JSON),
    Wrong("unknown chat", "POST", f"/v1/chats/{NOBODYS}/messages", 404, "not_found", {"content": "x"}),
    Wrong("somebody else's chat", "POST", "/v1/chats/{theirs}/messages", 404, "not_found", {"content": "x"}),
    Wrong("a chat id that is none", "POST", "/v1/chats/x/messages", 404, "not_found", {"content": "x"}),
    Wrong("a chat id that is a subject", "GET", "/v1/chats/*/messages", 404, "not_found"),
    Wrong("a chat id with a dot", "GET", "/v1/chats/a.b", 404, "not_found"),
    Wrong("reading somebody else's chat", "GET", "/v1/chats/{theirs}", 404, "not_found"),
    Wrong("reading somebody else's messages", "GET", "/v1/chats/{theirs}/messages", 404, "not_found"),
    Wrong("changing somebody else's chat", "PATCH", "/v1/chats/{theirs}", 404, "not_found", {"title": "mine"}),
    Wrong("deleting somebody else's chat", "DELETE", "/v1/chats/{theirs}", 404, "not_found"),
    Wrong("stopping somebody else's answer", "POST", "/v1/chats/{theirs}/stop", 404, "not_found"),
    Wrong("following somebody else's chat", "GET", "/v1/chats/{theirs}/stream", 404, "not_found"),
    Wrong("somebody else's members", "GET", "/v1/chats/{theirs}/members", 404, "not_found"),
    Wrong("joining by oneself", "PUT", f"/v1/chats/{{theirs}}/members/{NOBODYS}", 404, "not_found"),
    Wrong("a message id that is none", "DELETE", MESSAGES + "/x", 404, "not_found"),
    Wrong("a member id that is none", "PUT", "/v1/chats/{mine}/members/x", 404, "not_found"),
    Wrong("no such address", "GET", "/v1/nothing", 404, "not_found"),
    Wrong("no such version", "GET", "/v2/chats", 404, "not_found"),
    Wrong("a slash too many", "GET", "/v1/chats/", 404, "not_found"),
    Wrong("wrong method", "PUT", "/v1/chats", 405, "method_not_allowed"),
    Wrong("wrong method on messages", "DELETE", MESSAGES, 405, "method_not_allowed"),
    Wrong("wrong method on a session", "GET", "/v1/session", 405, "method_not_allowed"),
    Wrong("a method nobody knows", "PROPFIND", "/v1/chats", 405, "method_not_allowed"),
    Wrong("a title too long", "POST", "/v1/chats", 422, "invalid", {"title": "t" * 201}),
    Wrong("a system prompt too long", "POST", "/v1/chats", 413, "too_large", {"system_prompt": "s" * 33_000}),
    Wrong("a NUL in a title", "PATCH", "/v1/chats/{mine}", 422, "invalid", {"title": "\0"}),
    Wrong("a tip that is none", "PATCH", "/v1/chats/{mine}", 422, "invalid", {"tip_id": "x"}),
    Wrong("a page of nothing", "GET", "/v1/chats?limit=0", 422, "invalid"),
    Wrong("a page too large", "GET", "/v1/chats?limit=101", 422, "invalid"),
    Wrong("a limit that is no number", "GET", MESSAGES + "?limit=many", 422, "invalid"),
    Wrong("a search for nothing", "GET", "/v1/search", 422, "invalid"),
    Wrong("a search for blanks", "GET", "/v1/search?q=%20", 422, "invalid"),
    Wrong("a search for NUL", "GET", "/v1/search?q=%00", 422, "invalid"),
    Wrong("a search too long", "GET", "/v1/search?q=" + "x" * 501, 422, "invalid"),
    Wrong("a forged token", "GET", "/v1/chats", 401, "token_invalid", headers={"authorization": "Bearer forged"}),
    Wrong(
        "an expired token",
        "GET",
        "/v1/chats",
        401,
        "token_expired",
        headers={"authorization": f"Bearer {KeyRing([KEY]).issue('access', NOBODYS, -11)[0]}"},
    ),
    Wrong("a title of nothing to see", "POST", "/v1/chats", 422, "invalid", {"title": "\u200b\u2800"}),
    Wrong("a search of nothing to see", "GET", "/v1/search?q=%E2%80%8B", 422, "invalid"),
    Wrong("no token", "GET", "/v1/chats", 401, "not_authenticated", headers={"authorization": ""}),
]


@pytest.fixture
async def chats(user: User, other: User, store: FakeStore) -> dict[str, str]:
    return {"mine": await user.new_chat(), "theirs": await other.new_chat()}


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert len(problem["detail"]) > 10
    assert problem["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("wrong", TABLE, ids=str)
async def test_invalid_requests_are_refused(wrong: Wrong, gateway: Running, user: User, chats: dict[str, str]) -> None:
    content = json.dumps(wrong.body).encode() if wrong.body is not None else wrong.content
    headers = (JSON if wrong.body is not None else {}) | wrong.headers
    answer = await user.http.request(wrong.method, wrong.path.format(**chats), content=content, headers=headers)
    assert_problem(answer, wrong.status, wrong.code)
    if wrong.status == 405:
        assert wrong.method not in answer.headers["allow"]
    assert (await user.http.get("/v1/chats")).status_code == 200, "and the service is alive"
    assert "Traceback" not in gateway.process.log


async def test_a_405_lists_all_methods_of_the_address(user: User) -> None:
    assert (await user.http.put("/v1/chats")).headers["allow"] == "GET, HEAD, POST"
    assert (await user.http.post(f"/v1/chats/{NOBODYS}")).headers["allow"] == "DELETE, GET, HEAD, PATCH"


@pytest.mark.parametrize(
    ("refusal", "status", "retry_after"),
    [
        (rpc.RpcError(code="conflict", message="An answer is running."), 409, None),
        (rpc.RpcError(code="forbidden", message="Only the owner can."), 403, None),
        (rpc.RpcError(code="invalid", message="That is not an ended answer."), 422, None),
        (rpc.RpcError(code="too_many", message="Too many messages.", retry_after=3.2), 429, "4"),
        (rpc.RpcError(code="unavailable", message="Postgres is away.", retry_after=5), 503, "5"),
        (rpc.RpcError(code="unavailable", message="Postgres is away."), 503, "2"),
        (rpc.RpcError(code="internal", message="KeyError('x')"), 500, None),
    ],
    ids=lambda value: value.code if isinstance(value, rpc.RpcError) else None,
)
async def test_a_refusal_of_chat_store_is_a_problem(
    refusal: rpc.RpcError, status: int, retry_after: str | None, user: User, store: FakeStore
) -> None:
    chat_id = await user.new_chat()
    store.refusals["regenerate"] = refusal
    answer = await user.http.post(f"/v1/chats/{chat_id}/messages/{new_id()}/regenerate")
    assert_problem(answer, status, refusal.code)
    assert answer.headers.get("retry-after") == retry_after
    assert ("KeyError" in answer.text) is False, "what broke is logged, never shown"


async def test_a_body_that_never_ends_is_not_kept(gateway: Running, user: User, store: FakeStore) -> None:
    chat_id = await user.new_chat()
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 64 * MAX_BODY_BYTES:
            sent += 65536
            yield b" " * 65536

    answer = await user.http.post(f"/v1/chats/{chat_id}/messages", content=endless(), headers=JSON)
    assert_problem(answer, 413, "too_large")


@pytest.mark.parametrize(
    "raw",
    [
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"BREW / HTTP/1.1\r\n\r\n",
    ],
)
async def test_data_that_is_not_http_is_refused(raw: bytes, gateway: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.process.health_port)
    writer.write(raw)
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 400 ")
    writer.close()
    assert gateway.process.get("/healthz")[0] == 200
    assert "Traceback" not in gateway.process.log
