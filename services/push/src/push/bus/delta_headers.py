"""The headers of live messages."""

import contextlib
from typing import Final, NamedTuple

from parley.contracts.live import READ_AT
from parley.runtime import tracing

_TRACEPARENT: Final = tracing.TRACEPARENT.encode()
_READ_AT: Final = READ_AT.lower().encode()


class DeltaHeaders(NamedTuple):
    """Of a message that is followed until it is written to readers.

    Attributes:
        traceparent: The trace it belongs to.
        read_at: When the worker read its text from the provider (Unix time).
    """

    traceparent: str | None = None
    read_at: float | None = None


def parse_headers(headers: bytes) -> DeltaHeaders | None:
    """Parse the headers of a message; None if they hold neither of the two."""
    traceparent: str | None = None
    read_at: float | None = None
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        if name == _TRACEPARENT:
            traceparent = value.strip().decode("latin-1")
        elif name == _READ_AT:
            with contextlib.suppress(ValueError):
                read_at = float(value)
    return None if traceparent is None and read_at is None else DeltaHeaders(traceparent, read_at)
