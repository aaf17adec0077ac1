"""Maps the provider's responses to errors, by :mod:`llm_worker.provider.error_rules`. No I/O."""

import email.utils
import math
import time
from collections.abc import Mapping
from typing import Any

from llm_worker.errors import ProviderError
from llm_worker.provider.error_body import ErrorBody
from llm_worker.provider.error_rules import template_of
from llm_worker.provider.error_templates import MODEL, NAMED_MODEL


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
    template = template_of(status, reported.text, retry_after=retry_after)
    if template is MODEL and model:
        template = NAMED_MODEL
    return template.error(
        f"{status or 'no status'}: {reported.text[:500]}",
        status=status,
        retry_after=retry_after if template.transient else None,
        model=model[:100],
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
