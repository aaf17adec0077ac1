"""Answers as JSON. Structs go out as ``msgspec`` writes them; nothing validates them a second time."""

from typing import Any

import msgspec
from starlette.responses import Response

_encoder = msgspec.json.Encoder()


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_encoder.encode(body), status, headers, "application/json")


def nothing() -> Response:
    """Done, and there is nothing to say (204)."""
    return Response(status_code=204)
