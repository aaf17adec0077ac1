"""Each error of a provider is mapped to one code and a helpful message."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from llm_worker.errors import ProviderError, ToolsRefused
from llm_worker.provider import error_mapping, error_templates
from llm_worker.provider.error_body import ErrorBody


def failure(status: int, body: Any, headers: dict[str, str] | None = None) -> ProviderError:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return error_mapping.from_status(status, raw, headers or {}, model="m-1")


def openai(message: str = "", code: Any = None, type: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def google(message: str, status: str, *details: Any) -> list[Any]:
    return [{"error": {"code": 400, "message": message, "status": status, "details": list(details)}}]


LONG, REFUSED, KEY, MODEL, LIMITED, AWAY, REQUEST = (
    *("context_too_long", "content_refused", "provider_auth", "model_not_found", "rate_limited"),
    *("provider_unavailable", "provider_error"),
)


@pytest.mark.parametrize(
    ("status", "body", "code", "transient"),
    [
        # the key
        (401, openai("Incorrect API key", "invalid_api_key"), KEY, False),
        (401, b"", KEY, False),
        (403, b"Forbidden", KEY, False),
        (400, google("API key expired. Please renew it.", "INVALID_ARGUMENT"), KEY, False),
        (400, {"error": "Incorrect API key provided: xa***. Get one at the console."}, KEY, False),
        # the model
        (404, openai("no such model", "model_not_found"), MODEL, False),
        (404, b"404 page not found", MODEL, False),
        (400, openai("no", "model_not_found"), MODEL, False),
        (400, openai("Model Not Exist"), MODEL, False),
        (
            400,
            {"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None},
            MODEL,
            False,
        ),
        (400, openai("gpt-99 is not a valid model ID", 400), MODEL, False),
        (403, openai("Project p does not have access to model m", "model_not_found"), MODEL, False),
        (410, openai("The model m has been retired"), MODEL, False),
        # too long
        (400, openai("too long", "context_length_exceeded"), LONG, False),
        (400, openai("This model's maximum context length is 4096 tokens."), LONG, False),
        (400, {"error": "the prompt is too long: 9000 tokens"}, LONG, False),
        (400, openai("Your input exceeds the context window of this model."), LONG, False),
        (400, {"message": "Input is too long for requested model."}, LONG, False),
        (400, google("The input token count (90) exceeds the maximum number of tokens allowed (9).", "X"), LONG, False),
        (400, {"error": "This model's maximum prompt length is 10 but the request has 20 tokens."}, LONG, False),
        (400, openai("Your request exceeded model token limit: 9 (requested: 10)"), LONG, False),
        (400, openai("Prompt contains 9 tokens and 0 draft tokens, too large for model with 8 maximum"), LONG, False),
        (400, openai("Please reduce the length of the messages or completion."), LONG, False),
        (400, openai("<400> InternalError: Range of input length should be [1, 30720]"), LONG, False),
        (422, {"error": "`inputs` must have less than 4096 tokens. Given: 9000"}, LONG, False),
        (422, openai("`inputs` tokens + `max_new_tokens` must be <= 4097."), LONG, False),
        (400, openai("Prompt exceeds max length", "1261"), LONG, False),
        (413, b"", LONG, False),
        (413, {"error": {"message": "Request too large for model: tokens per minute", "type": "tokens"}}, LONG, False),
        # the provider's rules
        (400, openai("filtered", "content_filter"), REFUSED, False),
        (400, openai("violates our usage policies"), REFUSED, False),
        (403, openai("Your input was flagged for violence.", 403), REFUSED, False),
        (403, {"code": "denied", "error": "Content violates usage guidelines."}, REFUSED, False),
        (400, openai("Output data may contain inappropriate content.", "data_inspection_failed"), REFUSED, False),
        (
            400,
            {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}},
            REFUSED,
            False,
        ),
        (422, {"error": {"code": 1026, "message": "input new_sensitive"}}, REFUSED, False),
        # bills, which waiting does not pay
        (429, openai("no credit", "insufficient_quota"), LIMITED, False),
        (429, openai("You exceeded your current quota"), LIMITED, False),
        (429, openai("Your account is suspended, please recharge", type="exceeded_current_quota"), LIMITED, False),
        (429, openai("Rate limit reached for requests per day (RPD): Limit 10, Used 10"), LIMITED, False),
        (403, {"error": {"message": "Key limit exceeded (monthly limit)", "code": 403}}, LIMITED, False),
        (400, openai("Your credit balance is too low to access the API."), LIMITED, False),
        (402, b"", LIMITED, False),
        (429, openai("You have reached your specified API usage limits."), LIMITED, False),
        (429, openai("Request too large for m on tokens per min: Limit 9, Requested 10", "rate_limit"), LONG, False),
        # rates, which it does
        (429, openai("slow down", "rate_limit_exceeded"), LIMITED, True),
        (429, openai("Rate limit reached for tokens per min. Please try again in 2s.", "rate_limit"), LIMITED, True),
        (429, google("You exceeded your current quota. Please retry in 3s.", "RESOURCE_EXHAUSTED"), LIMITED, True),
        (429, b"", LIMITED, True),
        (503, openai("too many requests"), LIMITED, True),
        (412, openai("Account a is suspended, possibly due to reaching the monthly spending limit"), LIMITED, False),
        (429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month."}, LIMITED, False),
        (429, {"message": "You are using a Trial key, which is limited to 40 API calls / minute."}, LIMITED, True),
        # tools
        (400, openai("library/gemma3:latest does not support tools", type="api_error"), REQUEST, False),
        (400, openai("Model does not support function calling"), REQUEST, False),
        (400, openai("`tool calling` is not supported with this model"), REQUEST, False),
        (400, google("Function calling is not enabled for models/gemma-3-27b-it", "INVALID_ARGUMENT"), REQUEST, False),
        (404, openai("No endpoints found that support tool use.", 404), REQUEST, False),
        (500, {"error": {"code": 500, "message": "tools param requires --jinja flag"}}, REQUEST, False),
        # what passes
        (500, openai("sorry", type="server_error"), AWAY, True),
        (503, b"<html>unavailable</html>", AWAY, True),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, AWAY, True),
        (522, b"", AWAY, True),
        (408, b"", AWAY, True),
        (498, b"", AWAY, True),
        (499, google("The operation was cancelled.", "CANCELLED"), AWAY, True),
        (400, openai("upstream timed out"), AWAY, True),
        # all else
        (403, openai("Country, region, or territory not supported", "unsupported_country"), REQUEST, False),
        (400, google("User location is not supported for the API use.", "FAILED_PRECONDITION"), REQUEST, False),
        (400, openai("unknown parameter"), REQUEST, False),
        (400, openai("This model does not support image input"), REQUEST, False),
        (422, {"detail": [{"msg": "field required", "loc": ["body", "x"]}]}, REQUEST, False),
        (418, b"\xff\xfe", REQUEST, False),
    ],
)
def test_a_status_and_its_body_become_a_code(status: int, body: Any, code: str, transient: bool) -> None:
    got = failure(status, body)
    assert (got.code, got.transient, got.retryable) == (code, transient, transient), got.detail
    assert got.as_message_error().code == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "died", "code": 503}, AWAY),
        ({"message": "died", "code": "503"}, AWAY),
        ({"message": "no", "status_code": 401}, KEY),
        ({"error": {"message": "no such thing", "type": "NotFoundError"}}, MODEL),
        ({"error": {"message": "GatewayTimeout", "type": "GatewayTimeout"}}, AWAY),
        ({"error": {"message": "bad", "type": "invalid_request_error"}}, REQUEST),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, KEY),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, LIMITED),
        ({"error": {"message": "busy", "metadata": {"raw": '{"error": {"code": 429}}'}}}, AWAY),
        ("prompt is too long", LONG),
        ("out of memory", AWAY),
        ({}, AWAY),
    ],
)
def test_an_error_within_an_answer_is_the_status_that_it_stands_for(error: Any, code: str) -> None:
    assert error_mapping.from_stream(error, model="").code == code


def test_what_the_user_wrote_does_not_decide_what_the_error_is() -> None:
    body = {"error": {"message": "bad request", "input": "prompt is too long", "flagged_input": "content_filter"}}
    assert failure(400, body).code == REQUEST


def test_advice_is_for_operators_only() -> None:
    for got in (failure(401, b""), failure(400, openai("", "context_length_exceeded")), error_templates.NO_KEY.error()):
        assert not any(name in got.message for name in ("OPENAI_", "MODEL", "CONTEXT_TOKENS"))
        assert "OPENAI_" in got.advice or "CONTEXT_TOKENS" in got.advice


@pytest.mark.parametrize(
    "message",
    [
        "Unknown name \"const\" at 'tools[0].function_declarations[9].parameters': Cannot find field.",
        "Invalid schema for function 'look': object schema missing properties.",
        "tools.80.custom.input_schema: input_schema does not support oneOf at the top level",
        "Invalid 'tools[1].function.name': string does not match pattern.",
        "Invalid 'tools': array too long. Expected an array with maximum length 128.",
    ],
)
def test_definitions_of_tools_that_are_refused_are_named(message: str) -> None:
    error = failure(400, openai(message))
    assert isinstance(error, ToolsRefused)
    assert "definitions of the tools" in error.message
    assert not isinstance(failure(400, openai("Invalid 'messages[1].tool_calls[0].function.name'")), ToolsRefused)


def test_a_call_that_the_provider_cannot_read_may_be_another_the_next_time() -> None:
    error = failure(400, openai("Failed to call a function.", "tool_use_failed"))
    assert (error.code, error.transient, error.retryable) == (REQUEST, False, True)


def test_a_missing_model_is_named() -> None:
    assert "m-1" in failure(404, b"").message


def test_what_the_provider_said_is_for_the_log_only() -> None:
    got = failure(500, openai("secret stack trace at line 7"))
    assert "secret" not in got.message
    assert "secret" in got.detail


@pytest.mark.parametrize("body", [b'{"error": {"message": "a\\u0000b\\ud83d"}}', b"a\x00b\xf0\x9f", b"[" * 100_000])
def test_characters_that_cannot_be_stored_are_replaced(body: bytes) -> None:
    got = failure(500, body)
    assert "\x00" not in got.detail
    got.detail.encode()
    assert got.code == AWAY


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "Wed, 01 Jan 2025 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 01 Jan 2020 00:00:00 GMT"}, None),
        ({"retry-after": "Wed, 99 Jan 2020 00:00:00 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "0", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "?", "retry-after": "9"}, 9.0),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
    assert error_mapping.retry_after(headers, now=now) == seconds


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ("Please try again in 700ms.", 0.7),
        ("Please try again in 6.5s.", 6.5),
        ("Please try again in 1m2.5s. Visit us.", 62.5),
        ("Try again in 2 minutes", 120.0),
        ("Please retry after 30 seconds.", 30.0),
        ("Please wait 1h2m3s", 3723.0),
        ({"error": {"details": [{"retryDelay": "6s"}]}}, 6.0),
        ({"error": {"retry_after": 12}}, 12.0),
        ("Please try again later. Line 7.", None),
        ("Limit 30000, Requested 40361.", None),
    ],
)
def test_a_delay_in_the_words_of_an_error_is_read(body: Any, seconds: float | None) -> None:
    assert ErrorBody.from_value(body).retry_after == seconds


def test_only_transient_errors_have_a_retry_after() -> None:
    assert failure(429, b"", {"retry-after": "3"}).retry_after == 3.0
    assert failure(429, openai("Please try again in 5s"), {"retry-after": "3"}).retry_after == 5.0
    assert failure(401, b"", {"retry-after": "3"}).retry_after is None
