"""What surrounds every request: its id, its log line, headers, and unexpected exceptions."""

import logging
import time

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from gateway.http import problems
from gateway.http.middleware import RequestMiddleware
from gateway.http.requests import MAX_BODY_BYTES, JsonBody
from gateway.routes.schemas import NewMessage
from parley.contracts.text import is_blank
from parley.runtime.forwarded import TrustedProxies
from tests.unit.gateway.apps import app, client, token

CHAT = "0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a12"


def broken_app() -> RequestMiddleware:
    async def fail() -> Response:
        raise RuntimeError("the database password is hunter2")

    async def fail_late(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("half")(scope, receive, send)
        raise RuntimeError("too late")

    routes = FastAPI(openapi_url=None)
    routes.router.add_api_route("/fail", fail)
    routes.router.default = fail_late
    problems.install(routes)
    return RequestMiddleware(routes, TrustedProxies(""))


async def test_an_unexpected_exception_is_a_problem_without_details_and_one_log_entry(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client(broken_app()) as http:
        answer = await http.get("/fail", headers={"x-request-id": "abc"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "Something went wrong here. The log has more under this request_id.",
        "code": "internal",
        "request_id": "abc",
    }
    (failure,) = [record for record in caplog.records if record.exc_info]
    assert failure.__dict__["request_id"] == "abc"


async def test_an_exception_after_the_response_began_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with client(broken_app()) as http:
        answer = await http.get("/other")
    assert answer.text == "half"
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["A request failed"]


async def test_a_request_keeps_its_own_request_id() -> None:
    async with client(app()) as http:
        answer = await http.get("/v1/nothing", headers={"x-request-id": "trace-1.2_3"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "trace-1.2_3"


@pytest.mark.parametrize("given", [{}, {"x-request-id": "a b"}, {"x-request-id": "x" * 65}, {"x-request-id": "é"}])
async def test_a_request_without_a_valid_request_id_gets_one(given: dict[str, str]) -> None:
    async with client(app()) as http:
        answer = await http.get("/healthz", headers={name.encode(): value.encode() for name, value in given.items()})
    assert len(answer.headers["x-request-id"]) == 36


async def test_each_request_is_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.access")
    async with client(app()) as http:
        await http.get(httpx.URL("http://chat.test").copy_with(raw_path=b"/v1/a%0aFAKE%20LINE?q=private"))
        for probe in ("/healthz", "/v1/config"):
            await http.get(probe)
    (record,) = [record for record in caplog.records if record.name == "gateway.access"]
    assert record.getMessage() == "GET /v1/a%0aFAKE%20LINE 404"
    assert record.__dict__["ms"] >= 0
    assert "user_id" not in record.__dict__


async def test_every_response_has_the_security_headers() -> None:
    async with client(app()) as http:
        for path in ("/healthz", "/v1/config", "/v1/nothing", "/v1/chats"):
            headers = (await http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
            assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("path", ["/v1/session", "/v1/nothing", "/", "/healthz"])
async def test_a_body_whose_content_length_is_too_large_is_refused_unread(path: str) -> None:
    async with client(app()) as http:
        answer = await http.post(path, headers={"content-length": str(MAX_BODY_BYTES + 1)})
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


async def test_metrics_count_by_route_and_never_by_path() -> None:
    async with client(app()) as http:
        await http.get("/v1/chats/0199f3a2-7c1e-7d3a-9b64-2f1d5c0e8a11")
        await http.get("/v1/nothing-like-it")
        text = (await http.get("/metrics")).text
    assert 'parley_gateway_requests_total{method="GET",route="/v1/chats/{chat_id}",status="401"}' in text
    assert 'route="none",status="404"' in text
    assert "nothing-like-it" not in text
    assert "0199f3a2" not in text


async def test_readiness_includes_the_time_of_the_gateways_clock() -> None:
    before = time.time()
    async with client(app()) as http:
        said = (await http.get("/readyz")).json()
    assert before <= said["time"] <= time.time()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/config"])
async def test_head_is_get_without_the_body(path: str) -> None:
    async with client(app()) as http:
        got, head = await http.get(path), await http.head(path)
    assert head.status_code == got.status_code
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(
    ("text", "blank"),
    [
        *[
            (char, True)
            for char in "\u200b\ufeff\u2060\u00ad\u3164\u2800\u115f\uffa0\u180e\ufe0f\U000e0020\u202e\u2028 \t\n"
        ],
        ("", True),
        (" \u200b\u00a0\u2800 ", True),
        *[(text, False) for text in ("a", ".", "\u200ba", "\u2801", "\U0001f469\u200d\U0001f4bb", "\u0e33", "\ufffd")],
    ],
)
async def test_a_message_and_a_title_must_have_a_visible_character(text: str, blank: bool) -> None:
    assert is_blank(text) is blank
    headers = {"authorization": f"Bearer {token()}"}
    async with client(app(), headers=headers) as http:
        message = await http.post(f"/v1/chats/{CHAT}/messages", json={"content": text})
        title = await http.patch(f"/v1/chats/{CHAT}", json={"title": text})
    # NATS is away in these tests: what is let through gets that far.
    assert (message.status_code, title.status_code) == ((422, 422) if blank else (503, 503))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'\xef\xbb\xbf{"content": "hello"}', 503),
        (b'{"content": "half \\ud83d of it"}', 503),
        (b'{"content": "\\ude00\\ud83d"}', 503),
        (b'{"content": "\\ud83d\\ude00"}', 503),
        (b'{"content": 1, "x": "\\ud83d"}', 422),
        (b'{"content": "\\ud83d"', 400),
        (b'{"content": "\\ud83d", "x": NaN}', 400),
        (b'{"content": "\xed\xa0\xbd"}', 400),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", 400),
        (b'{"x": ' + b"[" * 100_000, 400),
    ],
)
async def test_json_is_read_as_browsers_write_it(body: bytes, status: int) -> None:
    headers = {
        "authorization": f"Bearer {token()}",
        "content-type": "application/json",
    }
    async with client(app(), headers=headers) as http:
        answer = await http.post(f"/v1/chats/{CHAT}/messages", content=body)
    assert answer.status_code == status


async def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    read = JsonBody(NewMessage)
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", b"application/json")]}

    async def receive() -> Message:
        return {"type": "http.request", "body": b'{"content": "\\\\ud83d \\ud83d\\ude00 \\ud83d!"}', "more_body": False}

    assert (await read(Request(scope, receive))).content == "\\ud83d \U0001f600 \ufffd!"
