"""The provider's errors, turned into what a program and a person can act on. No I/O.

What kind of error it is comes from the table of :mod:`llm_worker.provider.error_rules`; here are the words for it.
"""

import email.utils
import math
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from llm_worker.errors import ProviderFailure
from llm_worker.provider.complaints import Complaint
from llm_worker.provider.error_rules import Kind, kind_of


class _Words(NamedTuple):
    """What people are told, and operators."""

    code: str
    message: str
    curable: bool
    retryable: bool
    advice: str = ""


_TOLD: Final[Mapping[Kind, _Words]] = {
    Kind.REGION: _Words(
        "provider_error",
        "The model provider does not serve the country or region that this server runs in.",
        curable=False,
        retryable=False,
        advice="Choose a provider that serves this region (OPENAI_BASE_URL).",
    ),
    Kind.REFUSED: _Words(
        "content_refused",
        "The model provider's content rules do not allow this answer. Try to put it in other words.",
        curable=False,
        retryable=False,
    ),
    Kind.QUOTA: _Words(
        "rate_limited",
        "The account at the model provider has used up its quota or its credit. Only whoever runs this server can "
        "change that.",
        curable=False,
        retryable=False,
        advice="Look at the plan and the billing of the account that OPENAI_API_KEY belongs to.",
    ),
    Kind.TOO_LONG: _Words(
        "context_too_long",
        "The conversation is too long for this model. Start a new chat, or choose a model with a larger context.",
        curable=False,
        retryable=False,
        advice="CONTEXT_TOKENS is the budget of a conversation; lower it to the model's size.",
    ),
    Kind.TOO_MUCH_A_MINUTE: _Words(
        "context_too_long",
        "The conversation is larger than what the model provider accepts of this server in a minute. Start a new chat, "
        "or choose another model.",
        curable=False,
        retryable=False,
        advice="Lower CONTEXT_TOKENS below the account's tokens per minute, or raise the account's limit.",
    ),
    Kind.KEY: _Words(
        "provider_auth",
        "The model provider did not accept the API key of this server. Only whoever runs this server can change that.",
        curable=False,
        retryable=False,
        advice="Set OPENAI_API_KEY to a valid key for OPENAI_BASE_URL, and start llm-worker again.",
    ),
    Kind.MODEL: _Words(
        "model_not_found",
        "The model provider does not offer this model. Choose another one.",
        curable=False,
        retryable=False,
        advice="Look at MODEL and OPENAI_BASE_URL.",
    ),
    Kind.RATE: _Words(
        "rate_limited",
        "The model provider is receiving too many requests. Please try again in a while.",
        curable=True,
        retryable=True,
    ),
    Kind.UNAVAILABLE: _Words(
        "provider_unavailable",
        "The model provider has a problem of its own. Please try again in a while.",
        curable=True,
        retryable=True,
    ),
    Kind.REQUEST: _Words(
        "provider_error",
        "The model provider did not accept the request. Choose another model, or ask whoever runs this server.",
        curable=False,
        retryable=False,
    ),
}


def from_status(status: int, body: bytes, headers: Mapping[str, str], *, model: str) -> ProviderFailure:
    """The failure of a request that was answered with an error status."""
    complaint = Complaint.of(body)
    asked = [seconds for seconds in (retry_after(headers), complaint.retry_after) if seconds is not None]
    return _failure(status, complaint, model=model, wait=max(asked, default=None))


def from_stream(error: Any, *, model: str = "") -> ProviderFailure:
    """The failure that an error within an answer of status 200 reports: as the status that it stands for.

    Args:
        error: As it was parsed; bytes where it is still to be.
    """
    complaint = Complaint.of(error) if isinstance(error, bytes) else Complaint.from_value(error)
    return _failure(complaint.status, complaint, model=model, wait=complaint.retry_after)


def _failure(status: int | None, complaint: Complaint, *, model: str, wait: float | None) -> ProviderFailure:
    kind = kind_of(status, complaint.said, wait=wait)
    told = _TOLD[kind]
    message = told.message
    if kind is Kind.MODEL and model:
        message = f"The model provider does not offer the model {model[:100]!r}. Choose another one."
    return ProviderFailure(
        told.code,
        message,
        curable=told.curable,
        retryable=told.retryable,
        retry_after=wait if told.curable else None,
        status=status,
        detail=f"{status or 'no status'}: {complaint.said[:500]}",
        advice=told.advice,
    )


def _told(kind: Kind, detail: str) -> ProviderFailure:
    told = _TOLD[kind]
    return ProviderFailure(
        told.code, told.message, curable=told.curable, retryable=told.retryable, detail=detail, advice=told.advice
    )


def content_refused(detail: str) -> ProviderFailure:
    """The model's answer was stopped by the provider's content rules; another one may not be."""
    failure = _told(Kind.REFUSED, detail)
    failure.retryable = True
    return failure


def no_key() -> ProviderFailure:
    return ProviderFailure(
        "provider_auth",
        "This server has no API key for a model provider. Only whoever runs it can change that.",
        curable=False,
        retryable=False,
        advice="Set OPENAI_API_KEY, or OPENAI_BASE_URL to a server that needs none, and start llm-worker again.",
    )


def no_model(advice: str) -> ProviderFailure:
    return ProviderFailure(
        "model_not_found",
        "No model is chosen, and this server has no default. Choose a model.",
        curable=False,
        retryable=False,
        advice=advice,
    )


def not_offered(model: str) -> ProviderFailure:
    return ProviderFailure(
        "model_not_found",
        f"This server does not offer the model {model[:100]!r}. Choose another one.",
        curable=False,
        retryable=False,
        detail="not in the provider's list",
        advice="Only models that the provider lists, and MODEL, are asked for, unless ANY_MODEL is set.",
    )


def unreachable(detail: str) -> ProviderFailure:
    return ProviderFailure(
        "provider_unavailable",
        "The model provider cannot be reached. Please try again in a while.",
        curable=True,
        detail=detail,
        advice="Look at OPENAI_BASE_URL and at the network.",
    )


def moved(where: str) -> ProviderFailure:
    return ProviderFailure(
        "provider_error",
        "The model provider has moved to another address. Only whoever runs this server can change that.",
        curable=False,
        retryable=False,
        detail=f"redirected to {where[:200]}",
        advice="Set OPENAI_BASE_URL to the new address; redirects are followed only within the same origin.",
    )


def cut_off(detail: str) -> ProviderFailure:
    return ProviderFailure(
        "provider_unavailable",
        "The connection to the model provider broke off in the middle of the answer. Please try again.",
        curable=True,
        detail=detail,
    )


def interrupted(detail: str) -> ProviderFailure:
    return ProviderFailure(
        "provider_unavailable",
        "The model provider broke the answer off. Please try again.",
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


def empty(detail: str) -> ProviderFailure:
    return ProviderFailure(
        "provider_error",
        "The model ended its answer without saying anything. Please try again, or choose another model.",
        curable=False,
        detail=detail,
    )


def too_large_an_event(limit: int) -> ProviderFailure:
    return ProviderFailure(
        "provider_error",
        f"The model provider sent more at once than the limit of {limit >> 20} MiB allows; the answer ends with what "
        "fitted.",
        curable=False,
        detail=f"more than {limit} bytes without the end of an event",
    )


def not_understood(detail: str) -> ProviderFailure:
    return ProviderFailure(
        "provider_error",
        "The model provider sent something that is not an answer. Only whoever runs this server can change that.",
        curable=False,
        retryable=False,
        detail=detail,
        advice="OPENAI_BASE_URL must be an OpenAI-compatible API; it usually ends with /v1.",
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
    """Seconds that the provider asks to wait (RFC 9110 §10.2.3: seconds or a date; also ``retry-after-ms``).

    The longer of both where both are given; None when neither asks for a time to come.
    """
    asked = [
        seconds
        for seconds in (
            _seconds(headers.get("retry-after-ms", ""), unit=0.001),
            _seconds(headers.get("retry-after", "")),
            _until(headers.get("retry-after", ""), now),
        )
        if seconds is not None and seconds > 0
    ]
    return max(asked, default=None)


def _seconds(value: str, *, unit: float = 1.0) -> float | None:
    try:
        seconds = float(value) * unit
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _until(value: str, now: float | None) -> float | None:
    try:
        date = email.utils.parsedate_to_datetime(value)
        return date.timestamp() - (time.time() if now is None else now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
