"""The provider's errors, turned into what a program and a person can act on. No I/O."""

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llm_worker.errors import ProviderFailure

_CONTEXT_CODES: Final = ("context_length_exceeded", "context_window_exceeded", "request_too_large")
_CONTEXT_WORDS: Final = re.compile(
    r"context (length|window|size)|maximum context|too many (input )?tokens|prompt is too long|reduce the length", re.I
)
_REFUSED_CODES: Final = ("content_filter", "content_policy_violation", "moderation_blocked", "invalid_prompt")
_REFUSED_WORDS: Final = re.compile(r"content (management )?policy|content filter|safety system|usage polic", re.I)
_QUOTA_CODES: Final = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_MODEL_CODES: Final = ("model_not_found", "model_not_available", "unknown_model")


class _ErrorObject(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    status: str | int | None = None


class _Spelling(msgspec.Struct):
    error: _ErrorObject | str | None = None
    message: str | None = None
    code: str | int | None = None
    type: str | None = None
    detail: Any = None


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's error in one shape: OpenAI's, or one of those that resemble it."""

    message: str = ""
    code: str = ""
    type: str = ""

    @classmethod
    def of(cls, body: bytes | str) -> "Complaint":
        """Read an error body; one that is not JSON is the message itself."""
        try:
            spelled = msgspec.json.decode(body, type=_Spelling)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = body if isinstance(body, str) else body.decode(errors="replace")
            return cls(message=text[:500])
        error = spelled.error
        if isinstance(error, _ErrorObject):
            code = error.code if error.code is not None else error.status
            return cls(message=error.message or "", code=_text(code), type=error.type or "")
        detail = "" if spelled.detail is None else str(spelled.detail)
        return cls(message=error or spelled.message or detail, code=_text(spelled.code), type=spelled.type or "")

    @property
    def detail(self) -> str:
        """One line for the log."""
        return " ".join(f"{self.type} {self.code}: {self.message}".split())[:500]


def from_status(status: int, body: bytes | str, headers: Mapping[str, str], *, model: str) -> ProviderFailure:
    """The failure of a request that was answered with an error status."""
    return _classify(status, Complaint.of(body), model=model, retry_after=retry_after(headers))


def from_stream(data: bytes) -> ProviderFailure:
    """The failure that an error object in mid-stream reports. The status that it would have had is often its code."""
    complaint = Complaint.of(data)
    status = int(complaint.code) if complaint.code.isdecimal() and len(complaint.code) == 3 else 500
    return _classify(status, complaint, model="", retry_after=None)


def _classify(status: int, said: Complaint, *, model: str, retry_after: float | None) -> ProviderFailure:
    detail = f"{status} {said.detail}"
    if status in (401, 403):
        return ProviderFailure(
            "provider_auth",
            "The model provider did not accept the API key. Whoever runs this server should set OPENAI_API_KEY to a "
            "valid key for its provider, and start it again.",
            curable=False,
            detail=detail,
        )
    if status == 413 or said.code in _CONTEXT_CODES or (status == 400 and _CONTEXT_WORDS.search(said.message)):
        return ProviderFailure(
            "context_too_long",
            "The conversation is too long for this model. Start a new chat, or choose a model with a larger context. "
            "(Whoever runs this server can lower CONTEXT_TOKENS to the model's size.)",
            curable=False,
            detail=detail,
        )
    if said.code in _REFUSED_CODES or (status == 400 and _REFUSED_WORDS.search(said.message)):
        return content_refused(detail)
    if status == 404 or said.code in _MODEL_CODES:
        return ProviderFailure(
            "model_not_found",
            f"The provider does not offer the model {model!r}. Choose another one, or check MODEL and OPENAI_BASE_URL."
            if model
            else "The provider does not offer this model. Choose another one.",
            curable=False,
            detail=detail,
        )
    if said.code in _QUOTA_CODES or status == 402:
        return ProviderFailure(
            "rate_limited",
            "The account at the model provider has used up its quota. Check its plan and billing.",
            curable=False,
            detail=detail,
        )
    if status == 429 or "rate_limit" in said.code or "rate_limit" in said.type:
        return ProviderFailure(
            "rate_limited",
            "The model provider is receiving too many requests. Please try again in a while.",
            curable=True,
            retry_after=retry_after,
            detail=detail,
        )
    if status >= 500 or status in (408, 409, 425):
        return ProviderFailure(
            "provider_unavailable",
            "The model provider has a problem of its own. Please try again in a while.",
            curable=True,
            retry_after=retry_after,
            detail=detail,
        )
    return ProviderFailure(
        "provider_error",
        "The model provider did not accept the request. Try another model, or ask whoever runs this server to look "
        "into the log of llm-worker.",
        curable=False,
        detail=detail,
    )


def content_refused(detail: str = "") -> ProviderFailure:
    return ProviderFailure(
        "content_refused",
        "The model provider's content rules do not allow this answer. Try to put it in other words.",
        curable=False,
        detail=detail,
    )


def no_key() -> ProviderFailure:
    return ProviderFailure(
        "provider_auth",
        "No API key is set. Whoever runs this server should set OPENAI_API_KEY, or OPENAI_BASE_URL to a server that "
        "needs none, and start it again.",
        curable=False,
    )


def no_model() -> ProviderFailure:
    return ProviderFailure(
        "model_not_found",
        "No model is chosen and the provider lists none. Choose a model, or set MODEL.",
        curable=False,
    )


def unreachable(where: str, detail: str) -> ProviderFailure:
    return ProviderFailure(
        "provider_unavailable",
        f"The model provider at {where} cannot be reached. Please try again in a while, or check OPENAI_BASE_URL.",
        curable=True,
        detail=detail,
    )


def cut_off(detail: str) -> ProviderFailure:
    return ProviderFailure(
        "provider_unavailable",
        "The connection to the model provider broke off in the middle of the answer. Please try again.",
        curable=True,
        detail=detail,
    )


def silent(seconds: float, *, first: bool) -> ProviderFailure:
    return ProviderFailure(
        "provider_timeout",
        f"The model did not begin to answer within {seconds:g} seconds. Please try again, or choose another model."
        if first
        else f"The model fell silent for {seconds:g} seconds. Please try again, or choose another model.",
        curable=True,
        detail=f"silent for {seconds:g} s",
    )


def not_understood(detail: str) -> ProviderFailure:
    return ProviderFailure(
        "provider_error",
        "The model provider sent something that is not an answer. Check that OPENAI_BASE_URL is an OpenAI-compatible "
        "API (it usually ends with /v1).",
        curable=False,
        detail=detail,
    )


def exhausted() -> ProviderFailure:
    return ProviderFailure(
        "attempts_exhausted",
        "The answer was broken off several times and has been given up. Please try again.",
        curable=False,
    )


def internal(detail: str) -> ProviderFailure:
    return ProviderFailure(
        "provider_error",
        "Something went wrong while the answer was made. Please try again.",
        curable=False,
        detail=detail,
    )


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Seconds that the provider asks to wait (RFC 9110 §10.2.3: seconds or a date; also ``retry-after-ms``)."""
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None:
        try:
            return max(0.0, float(milliseconds) / 1000)
        except ValueError:
            pass
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - (time.time() if now is None else now))


def _text(code: str | int | None) -> str:
    return "" if code is None else str(code)
