"""Each of a provider's complaints becomes one code, and words that help."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from llm_worker.provider import failures
from llm_worker.errors import ProviderFailure


def failure(status: int, body: Any, headers: dict[str, str] | None = None) -> ProviderFailure:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return failures.from_status(status, raw, headers or {}, model="m-1")


def openai(message: str = "", code: Any = None, type: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "code", "curable"),
    [
        (401, openai("Incorrect API key", "invalid_api_key"), "provider_auth", False),
        (403, b"Forbidden", "provider_auth", False),
        (404, openai("no such model", "model_not_found"), "model_not_found", False),
        (404, b"404 page not found", "model_not_found", False),
        (400, openai("no", "model_not_found"), "model_not_found", False),
        (400, openai("too long", "context_length_exceeded"), "context_too_long", False),
        (400, openai("This model's maximum context length is 4096 tokens."), "context_too_long", False),
        (400, {"error": "the prompt is too long: 9000 tokens"}, "context_too_long", False),
        (413, b"", "context_too_long", False),
        (400, openai("filtered", "content_filter"), "content_refused", False),
        (400, openai("violates our usage policies"), "content_refused", False),
        (429, openai("slow down", "rate_limit_exceeded"), "rate_limited", True),
        (429, openai("no credit", "insufficient_quota"), "rate_limited", False),
        (402, b"", "rate_limited", False),
        (500, openai("sorry", type="server_error"), "provider_unavailable", True),
        (503, b"<html>unavailable</html>", "provider_unavailable", True),
        (408, b"", "provider_unavailable", True),
        (400, openai("unknown parameter"), "provider_error", False),
        (422, {"detail": [{"msg": "field required"}]}, "provider_error", False),
        (418, b"\xff\xfe", "provider_error", False),
    ],
)
def test_a_status_and_its_body_become_a_code(status: int, body: Any, code: str, curable: bool) -> None:
    got = failure(status, body)
    assert (got.code, got.curable) == (code, curable)
    assert got.as_message_error().code == code


def test_a_refused_key_says_what_to_set() -> None:
    assert "OPENAI_API_KEY" in failure(401, b"").message


def test_a_missing_model_is_named() -> None:
    assert "m-1" in failure(404, b"").message


def test_what_the_provider_said_is_for_the_log_only() -> None:
    got = failure(500, openai("secret stack trace at line 7"))
    assert "secret" not in got.message
    assert "secret" in got.detail


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Wed, 01 Jan 2025 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 01 Jan 2020 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "?", "retry-after": "9"}, 9.0),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
    assert failures.retry_after(headers, now=now) == seconds


def test_retry_after_goes_with_what_passes() -> None:
    assert failure(429, b"", {"retry-after": "3"}).retry_after == 3.0
