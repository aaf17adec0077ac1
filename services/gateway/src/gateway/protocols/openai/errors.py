"""Errors of OpenAI's API: the only mapping of the gateway's errors, and of an answer's, to its statuses and codes."""

from typing import Final

import msgspec
from starlette.responses import Response

from gateway.errors import GatewayError
from parley.contracts.resources import Message

PREFIX: Final = "/openai/"
"""Every error below this path has this shape."""

STATUSES: Final = {412: 403, 422: 400}
"""Statuses that OpenAI's API does not use, with those that replace them."""

_CODES: Final = {
    "not_authenticated": "invalid_api_key",
    "token_expired": "invalid_api_key",
    "token_invalid": "invalid_api_key",
    "session_ended": "invalid_api_key",
    "no_such_model": "model_not_found",
    "budget_spent": "insufficient_quota",
    "too_many": "rate_limit_exceeded",
    "too_many_requests": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "context_too_long": "context_length_exceeded",
    "content_refused": "content_filter",
}
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_ANSWERS: Final = {
    "model_not_found": 404,
    "context_too_long": 400,
    "content_refused": 400,
    "rate_limited": 429,
    "queue_full": 429,
    "budget_spent": 429,
    "too_many_prompts": 429,
    "too_many_answers": 429,
    "provider_auth": 500,
    "provider_unavailable": 503,
    "provider_timeout": 504,
    "attempts_exhausted": 503,
    "model_not_allowed": 403,
    "not_found": 404,
    "chat_busy": 409,
    "id_taken": 409,
}
"""The status of an answer's error, by its code."""


class ApiError(msgspec.Struct, frozen=True, kw_only=True):
    """An error in the form of OpenAI's API.

    Attributes:
        type: ``invalid_request_error``, ``authentication_error``, ``permission_error``, ``rate_limit_error``,
            ``insufficient_quota`` or ``server_error``.
        param: The member of the request that is wrong.
        code: For programs.
    """

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ApiErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error."""

    error: ApiError


class AnswerFailed(GatewayError, status=500, code="internal"):
    """The answer did not become complete."""


def answer_failed(message: Message) -> AnswerFailed:
    """Return the error for an answer that failed or was stopped, or for a prompt that was rejected or deleted."""
    if message.error is None:
        return AnswerFailed("The answer was stopped before its end.", status=409, code="answer_stopped")
    code = message.error.code
    status = _ANSWERS.get(code, 502 if message.error.retryable else 400)
    if code == "rate_limited" and not message.error.retryable:
        code = "insufficient_quota"
    return AnswerFailed(message.error.message, status=status, code=code)


def body(error: GatewayError) -> bytes:
    """Encode an error."""
    status = STATUSES.get(error.status, error.status)
    code = _CODES.get(error.code, error.code)
    kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
    if code == "insufficient_quota":
        kind = code
    api_error = ApiError(message=error.detail, type=kind, param=error.field, code=code)
    return msgspec.json.encode(ApiErrorBody(error=api_error))


def response(error: GatewayError, headers: dict[str, str]) -> Response:
    """Render an error."""
    status = 404 if error.code == "no_such_model" else STATUSES.get(error.status, error.status)
    if status == 409:
        # The SDKs treat a 409 as a lock timeout and would send the request again.
        headers = {**headers, "x-should-retry": "false"}
    return Response(body(error), status, headers, "application/json")


def event(error: GatewayError) -> bytes:
    """Encode an error within a stream, as a server-sent event that the SDKs raise."""
    return b"data: %b\n\n" % body(error)
