"""HTTP headers that the gateway and push treat alike."""

import re
from typing import Final

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}")
"""What an ``X-Request-Id`` of a caller must match to be used; otherwise a new one is made."""

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""Set on every response that does not set its own."""

CORS_REQUEST_HEADERS: Final = ("Authorization", "Content-Type", "Last-Event-ID", "Parley-User", "X-Request-Id")
"""Headers that a page of an allowed origin may send to push; to the gateway, all."""

CORS_RESPONSE_HEADERS: Final = ("Location", "Retry-After", "X-Request-Id", "X-Should-Retry")
"""Headers that a page of an allowed origin may read."""

CORS_SECONDS: Final = 600
"""How long a browser may reuse the answer to a preflight request."""
