"""The request for a stream of events: who sends it, and from which page. No I/O."""

from urllib.parse import parse_qsl

import h11

from parley.contracts.frames import Cursor
from parley.contracts.ids import new_id
from parley.runtime import tokens
from parley.runtime.http_headers import CORS_REQUEST_HEADERS, CORS_RESPONSE_HEADERS, CORS_SECONDS, REQUEST_ID
from push.errors import HttpError
from push.transport.cursors import parse_event_id
from push.transport.origins import Origins


class StreamRequest:
    """A request for a stream, as h11 parsed it.

    Attributes:
        id: Names it in the log, in a problem and in the response.
        path: The path as it was sent, percent-encoded.
    """

    def __init__(self, request: h11.Request) -> None:
        self.method = request.method.decode("latin-1")
        self.path, _, self._query = request.target.decode("latin-1").partition("?")
        self._headers = [(name, value.decode("latin-1")) for name, value in request.headers]
        given = self.header(b"x-request-id") or ""
        self.id = given if REQUEST_ID.fullmatch(given) else new_id()

    def headers(self, name: bytes) -> list[str]:
        """Return the values of all headers of this (lower-case) name."""
        return [value for header, value in self._headers if header == name]

    def header(self, name: bytes) -> str | None:
        return next(iter(self.headers(name)), None)

    @property
    def after(self) -> Cursor | None:
        """What the reader has; None: nothing, or nothing that can be read."""
        return parse_event_id(self.header(b"last-event-id") or dict(parse_qsl(self._query)).get("after"))

    def authenticate(self, keys: tokens.KeyRing) -> tokens.Claims:
        """Return what the request's access token states.

        Raises:
            HttpError: there is none, or it is not valid, or not of the user that the request is meant for.
        """
        token = self._bearer_token()
        if token is None:
            raise HttpError(401, "not_authenticated", "Send an access token: POST /v1/session returns one.")
        try:
            claims = keys.verify("access", token)
        except tokens.TokenExpired:
            raise HttpError(401, "token_expired", "The access token has expired. Renew it: POST /v1/session.") from None
        except tokens.TokenNotYet:
            detail = "The clocks of two servers differ. Try again soon."
            raise HttpError(503, "unavailable", detail, retry_after=5) from None
        except tokens.TokenInvalid:
            raise HttpError(401, "token_invalid", "The token is not valid.") from None
        if self.header(b"parley-user") not in (None, claims.user_id):
            detail = "The session is another user's. Start a session to see whose."
            raise HttpError(412, "other_user", detail)
        return claims

    def cors_headers(self, origins: Origins) -> list[tuple[bytes, bytes]]:
        """Return the headers that let a page of an allowed origin read the response."""
        origin = self.header(b"origin")
        allowed = None if origin is None else origins.cors(origin)
        if allowed is None:
            return []
        headers = [
            (b"access-control-allow-origin", allowed.encode("latin-1")),
            (b"access-control-expose-headers", ", ".join(CORS_RESPONSE_HEADERS).encode()),
            (b"vary", b"Origin"),
        ]
        if allowed != "*":
            headers.append((b"access-control-allow-credentials", b"true"))
        if self.method == "OPTIONS":
            headers += [
                (b"access-control-allow-methods", b"GET"),
                (b"access-control-allow-headers", ", ".join(CORS_REQUEST_HEADERS).encode()),
                (b"access-control-max-age", str(CORS_SECONDS).encode()),
            ]
        return headers

    def _bearer_token(self) -> str | None:
        scheme, _, token = (self.header(b"authorization") or "").partition(" ")
        # Another scheme is for a proxy in front.
        return token.strip() if scheme.lower() == "bearer" else None
