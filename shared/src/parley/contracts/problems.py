"""Errors of the HTTP interface: ``application/problem+json`` (RFC 9457)."""

from typing import Final

import msgspec

MEDIA_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem detail. ``type`` is ``about:blank``: ``title`` is the status in words, ``code`` says more.

    Attributes:
        code: For programs.
        detail: For people.
        request_id: Names the request in the logs.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
