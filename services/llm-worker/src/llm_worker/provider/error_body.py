"""Reads a provider's error, in whatever shape it reports it. No I/O."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from llm_worker.provider import chunks
from parley.contracts.text import storable

_MAX_CHARACTERS: Final = 2000
"""Characters of an error that are read; its first words identify it."""

_MAX_DEPTH: Final = 6

_ERROR_FIELDS: Final = frozenset(
    (
        *("message", "msg", "status_msg", "error", "errors", "error_msg", "error_message", "error_description"),
        *("detail", "details", "description", "title", "code", "type", "status", "error_code", "error_type", "reason"),
        *("reasons", "raw", "innererror", "inner_error", "loc", "metadata", "base_resp", "param", "quotaid"),
        *("violations", "body", "cause"),
    )
)
"""Fields that describe the error. Others may quote the user's text, which must not decide on the kind of error."""

_STATUS_FIELDS: Final = ("status_code", "http_code", "http_status", "code", "status", "error_code", "statusCode")

_STATUS_OF: Final = (
    # Names of errors, in lower case without spaces and underscores; the first that matches counts.
    (re.compile(r"unauthenticated|authentication|unauthorized|invalidapikey"), 401),
    (re.compile(r"insufficientquota|paymentrequired|insufficientbalance|billing"), 402),
    (re.compile(r"permission|forbidden"), 403),
    (re.compile(r"notfound"), 404),
    (re.compile(r"gatewaytimeout|deadlineexceeded|timeout"), 504),
    (re.compile(r"ratelimit|resourceexhausted|toomanyrequests|throttl"), 429),
    (re.compile(r"overloaded|unavailable"), 503),
    (re.compile(r"invalidrequest|invalidargument|badrequest|invalidparam|validation"), 400),
)

_DELAY: Final = re.compile(
    r"(?:try again|retry|wait|reset)\D{0,20}?(?=\d)"
    r"(?:(?P<hours>\d+)\s?h(?:ours?)?\s?)?(?:(?P<minutes>\d+)\s?m(?:in\w*)?(?!\w)\s?|(?P<short>\d+)m(?=\d))?"
    r"(?:(?P<amount>\d+(?:\.\d+)?)\s?(?P<unit>ms|milli\w+|s|secs?|seconds?)\b)?",
    re.IGNORECASE,
)
"""``Please try again in 1m2.5s``, ``Please retry in 700ms``, ``retry after 30 seconds``."""


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's error.

    Attributes:
        text: All its words: messages, codes, types, reasons.
        status: The HTTP status that it stands for; None where it names none.
        retry_after: Seconds after which the provider accepts another request; None where it names none.
    """

    text: str = ""
    status: int | None = None
    retry_after: float | None = None

    @classmethod
    def decode(cls, body: bytes) -> "ErrorBody":
        """Read an error's body; one that is not JSON is the message itself."""
        try:
            return cls.from_value(chunks.parse(body))
        except chunks.NotJson:
            return cls.from_value(body[: 4 * _MAX_CHARACTERS].decode(errors="replace"))

    @classmethod
    def from_value(cls, value: Any) -> "ErrorBody":
        """Read an error from parsed JSON."""
        words = " ".join(" ".join(_words(value, _MAX_DEPTH)).split())[:_MAX_CHARACTERS]
        # It may hold surrogates and NUL; neither can be logged or stored.
        text = storable(words.encode(errors="replace").decode())
        return cls(text=text, status=_status(value, text), retry_after=_delay(text))


def _words(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        if depth > 0 and value.lstrip().startswith("{"):
            # The error of an upstream server, quoted as JSON text.
            try:
                inner = json.loads(value)
            except (ValueError, RecursionError):
                return
            yield from _words(inner, depth - 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, list) and depth > 0:
        for item in value[:20]:
            yield from _words(item, depth - 1)
    elif isinstance(value, Mapping) and depth > 0:
        for name, item in value.items():
            lower = name.lower()
            if lower in ("retrydelay", "retry_after", "retry_after_seconds") and isinstance(item, int | float | str):
                yield f"retry after {item}s" if not isinstance(item, str) or item.isdigit() else f"retry after {item}"
            elif lower in _ERROR_FIELDS:
                yield from _words(item, depth - 1)


def _status(value: Any, text: str) -> int | None:
    """The HTTP status: the innermost that is named by its number, or by the name of an error."""
    found = list(_statuses(value, _MAX_DEPTH))
    if found:
        return found[-1]
    words = re.sub(r"[\s_-]+", "", text.lower())
    return next((status for pattern, status in _STATUS_OF if pattern.search(words)), None)


def _statuses(value: Any, depth: int) -> Iterator[int]:
    if isinstance(value, list) and depth > 0:
        for item in value[:20]:
            yield from _statuses(item, depth - 1)
    if not isinstance(value, Mapping):
        return
    for name in _STATUS_FIELDS:
        number = chunks.count(value.get(name))
        if number is not None and 400 <= number <= 599:
            yield number
            break
    if depth > 0:
        for name in ("error", "errors", "detail"):
            yield from _statuses(value.get(name), depth - 1)


def _delay(text: str) -> float | None:
    for found in _DELAY.finditer(text):
        amount = float(found["amount"] or 0)
        if (found["unit"] or "").lower().startswith("m"):
            amount /= 1000
        seconds = int(found["hours"] or 0) * 3600 + int(found["minutes"] or found["short"] or 0) * 60 + amount
        if seconds > 0:
            return seconds
    return None
