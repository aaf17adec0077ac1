"""Maps the provider's errors to error codes and messages that a program and a person can act on. No I/O.

:mod:`llm_worker.provider.error_rules` classifies an error; each class has a template here.
"""

import email.utils
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from llm_worker.errors import ProviderError, ToolsRefused
from llm_worker.provider.error_body import ErrorBody
from llm_worker.provider.error_rules import Kind, kind_of


@dataclass(frozen=True)
class ErrorTemplate:
    """One kind of error; the fields are those of :class:`ProviderError`. ``message`` may have named placeholders."""

    code: str
    message: str
    transient: bool = False
    retryable: bool = True
    advice: str = ""
    error_type: type[ProviderError] = ProviderError

    def error(
        self, detail: str = "", *, status: int | None = None, retry_after: float | None = None, **values: object
    ) -> ProviderError:
        """Return the exception, with ``values`` in place of the placeholders."""
        return self.error_type(
            self.code,
            self.message.format(**values) if values else self.message,
            transient=self.transient,
            retryable=self.retryable,
            advice=self.advice,
            detail=detail,
            status=status,
            retry_after=retry_after,
        )


_BY_KIND: Final[Mapping[Kind, ErrorTemplate]] = {
    Kind.REGION: ErrorTemplate(
        "provider_error",
        "The model provider does not serve the country or region that this server runs in.",
        retryable=False,
        advice="Choose a provider that serves this region (OPENAI_BASE_URL).",
    ),
    Kind.REFUSED: ErrorTemplate(
        "content_refused",
        "The model provider's content rules do not allow this answer. Try to put it in other words.",
        retryable=False,
    ),
    Kind.NO_TOOLS: ErrorTemplate(
        "provider_error",
        "This model cannot call tools. Choose another one.",
        retryable=False,
        advice="Parley's own tools are left out now; models of an entry of MCP_SERVERS names those that get them.",
        error_type=ToolsRefused,
    ),
    Kind.TOOLS: ErrorTemplate(
        "provider_error",
        "The model provider does not accept the definitions of the tools. Choose another model, or ask whoever runs "
        "this server.",
        retryable=False,
        advice="Parley's own tools are left out now; tools of an entry of MCP_SERVERS names those that are offered.",
        error_type=ToolsRefused,
    ),
    Kind.TOOL_CALL: ErrorTemplate(
        "provider_error",
        "The model called a tool in a form that its provider cannot read. Please try again, or choose another model.",
    ),
    Kind.QUOTA: ErrorTemplate(
        "rate_limited",
        "The account at the model provider has used up its quota or its credit. Only whoever runs this server can "
        "change that.",
        retryable=False,
        advice="Check the plan and the billing of the account that OPENAI_API_KEY belongs to.",
    ),
    Kind.TOO_LONG: ErrorTemplate(
        "context_too_long",
        "The conversation is too long for this model. Start a new chat, or choose a model with a larger context.",
        retryable=False,
        advice="CONTEXT_TOKENS is the budget of a conversation; lower it to the model's size.",
    ),
    Kind.TOO_MUCH_A_MINUTE: ErrorTemplate(
        "context_too_long",
        "The conversation is larger than what the model provider accepts of this server in a minute. Start a new chat, "
        "or choose another model.",
        retryable=False,
        advice="Lower CONTEXT_TOKENS below the account's tokens per minute, or raise the account's limit.",
    ),
    Kind.KEY: ErrorTemplate(
        "provider_auth",
        "The model provider did not accept the API key of this server. Only whoever runs this server can change that.",
        retryable=False,
        advice="Set OPENAI_API_KEY to a valid key for OPENAI_BASE_URL, and start llm-worker again.",
    ),
    Kind.MODEL: ErrorTemplate(
        "model_not_found",
        "The model provider does not offer this model. Choose another one.",
        retryable=False,
        advice="Check MODEL and OPENAI_BASE_URL.",
    ),
    Kind.RATE: ErrorTemplate(
        "rate_limited",
        "The model provider is receiving too many requests. Please try again in a while.",
        transient=True,
    ),
    Kind.UNAVAILABLE: ErrorTemplate(
        "provider_unavailable",
        "The model provider has a problem of its own. Please try again in a while.",
        transient=True,
    ),
    Kind.REQUEST: ErrorTemplate(
        "provider_error",
        "The model provider did not accept the request. Choose another model, or ask whoever runs this server.",
        retryable=False,
    ),
}
_NAMED_MODEL: Final = replace(
    _BY_KIND[Kind.MODEL], message="The model provider does not offer the model {model!r}. Choose another one."
)

# --- errors that no response of the provider reports -----------------------------------------------------------------

CONTENT_FILTERED: Final = replace(_BY_KIND[Kind.REFUSED], retryable=True)
"""The provider's content rules ended this answer; another one may pass."""

NO_KEY: Final = ErrorTemplate(
    "provider_auth",
    "This server has no API key for a model provider. Only whoever runs it can change that.",
    retryable=False,
    advice="Set OPENAI_API_KEY, or OPENAI_BASE_URL to a server that needs none, and start llm-worker again.",
)
NO_MODEL: Final = ErrorTemplate(
    "model_not_found",
    "No model is chosen, and this server has no default. Choose a model.",
    retryable=False,
    advice="Set MODEL: the provider lists no models.",
)
NOT_LISTED: Final = ErrorTemplate(
    "model_not_found",
    "This server does not offer the model {model!r}. Choose another one.",
    retryable=False,
    advice="Only models that the provider lists, and MODEL, are requested, unless ANY_MODEL is set.",
)
UNREACHABLE: Final = ErrorTemplate(
    "provider_unavailable",
    "The model provider cannot be reached. Please try again in a while.",
    transient=True,
    advice="Check OPENAI_BASE_URL and the network.",
)
REDIRECTED: Final = ErrorTemplate(
    "provider_error",
    "The model provider has moved to another address. Only whoever runs this server can change that.",
    retryable=False,
    advice="Set OPENAI_BASE_URL to the new address; redirects are followed only within the same origin.",
)
CONNECTION_LOST: Final = ErrorTemplate(
    "provider_unavailable",
    "The connection to the model provider broke off in the middle of the answer. Please try again.",
    transient=True,
)
INTERRUPTED: Final = ErrorTemplate(
    "provider_unavailable", "The model provider broke the answer off. Please try again.", transient=True
)
FIRST_TOKEN_TIMEOUT: Final = ErrorTemplate(
    "provider_timeout",
    "The model did not begin to answer within {seconds:g} seconds. Please try again, or choose another model.",
    transient=True,
)
TOKEN_TIMEOUT: Final = ErrorTemplate(
    "provider_timeout",
    "The model fell silent for {seconds:g} seconds. Please try again, or choose another model.",
    transient=True,
)
EMPTY: Final = ErrorTemplate(
    "provider_error", "The model ended its answer without saying anything. Please try again, or choose another model."
)
TOO_LARGE: Final = ErrorTemplate(
    "provider_error",
    "The model provider sent more at once than the limit of {mebibytes} MiB allows; the answer ends with what fitted.",
)
UNREADABLE: Final = ErrorTemplate(
    "provider_error",
    "The model provider sent something that is not an answer. Only whoever runs this server can change that.",
    retryable=False,
    advice="OPENAI_BASE_URL must be an OpenAI-compatible API; it usually ends with /v1.",
)
ATTEMPTS_EXHAUSTED: Final = ErrorTemplate(
    "attempts_exhausted", "The answer was broken off several times and has been given up. Please try again."
)
INTERNAL: Final = ErrorTemplate("provider_error", "Something went wrong while the answer was made. Please try again.")


def from_status(status: int, body: bytes, headers: Mapping[str, str], *, model: str) -> ProviderError:
    """Return the error of a request that was answered with an error status."""
    reported = ErrorBody.decode(body)
    delays = [seconds for seconds in (retry_after(headers), reported.retry_after) if seconds is not None]
    return _error(status, reported, model=model, retry_after=max(delays, default=None))


def from_stream(error: Any, *, model: str) -> ProviderError:
    """Return the error that a response of status 200 reports: as the status that it stands for.

    Args:
        error: Parsed JSON; bytes where it is not parsed yet.
    """
    reported = ErrorBody.decode(error) if isinstance(error, bytes) else ErrorBody.from_value(error)
    return _error(reported.status, reported, model=model, retry_after=reported.retry_after)


def _error(status: int | None, reported: ErrorBody, *, model: str, retry_after: float | None) -> ProviderError:
    kind = kind_of(status, reported.text, retry_after=retry_after)
    values = {"model": model[:100]} if kind is Kind.MODEL and model else {}
    template = _NAMED_MODEL if values else _BY_KIND[kind]
    return template.error(
        f"{status or 'no status'}: {reported.text[:500]}",
        status=status,
        retry_after=retry_after if template.transient else None,
        **values,
    )


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Seconds that the provider asks to wait (RFC 9110 §10.2.3: seconds or a date; also ``retry-after-ms``).

    The longer of both where both are given; None when neither names a time in the future.
    """
    value = headers.get("retry-after", "")
    found = (_seconds(headers.get("retry-after-ms", ""), unit=0.001), _seconds(value), _until(value, now))
    return max((seconds for seconds in found if seconds is not None and seconds > 0), default=None)


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
