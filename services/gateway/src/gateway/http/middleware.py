"""The middleware around every request: its id, log line, metrics and default headers, and a 500 for an exception."""

import logging
import re
import time
from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import GatewayError, InternalError, TooLarge, TooMany
from gateway.http.problems import error_response
from gateway.http.requests import max_body_bytes
from gateway.metrics import RATE_LIMITED, REQUEST_SECONDS, REQUESTS
from parley.contracts.ids import new_id
from parley.runtime.forwarded import TrustedProxies, group_of
from parley.runtime.http_headers import REQUEST_ID, SECURITY_HEADERS
from parley.runtime.settings import below

log = logging.getLogger("gateway.access")

_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_PROBED = "/v1/config"
"""The address of the proxy's health check, every two seconds: logged when it fails."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SHARED = re.compile("(/v1)?/shared/")
_CLIENT_CLOSED = 499
"""The status that nginx logs for a client that disconnected before its response."""


class RequestMiddleware:
    """Wraps the application. No exception gets past it."""

    def __init__(
        self,
        app: ASGIApp,
        proxies: TrustedProxies,
        base_path: str = "",
        admit_address: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        """Args: admit_address: Counts a request of an address; returns the seconds to wait when it has too many."""
        self._app = app
        self._base_path = base_path
        self._proxies = proxies
        self._admit_address = admit_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Headers change scope["client"]; who names a user must be the peer itself (gateway.auth.proxy_users).
        scope.setdefault("state", {})["peer"] = (scope["client"] or ("",))[0]
        client = self._apply_forwarded(scope)
        if self._base_path:
            scope["path"] = below(self._base_path, scope["path"])
            scope["raw_path"] = below(self._base_path, scope["raw_path"].decode("latin-1")).encode("latin-1")
        request = _Request(scope, send)
        try:
            refusal = self._refusal(scope, client)
            app = self._app if refusal is None else error_response(scope["path"], refusal, request.id)
            await app(scope, receive, request.send)
        except ClientDisconnect:
            request.status = _CLIENT_CLOSED
        except Exception:
            log.exception("A request failed", extra={"request_id": request.id})
            if request.status == 0:
                response = error_response(scope["path"], InternalError("Something went wrong here."), request.id)
                await response(scope, receive, request.send)
        finally:
            request.done()

    def _refusal(self, scope: Scope, client: str | None) -> GatewayError | None:
        """Return why a request is refused by its address or its head; None: it is not."""
        if client is not None and scope["path"] not in _QUIET and (wait := self._admit_address(group_of(client))):
            RATE_LIMITED.labels("address").inc()
            detail = "Too many requests from this address. Wait a moment."
            return TooMany(detail, code="too_many_requests", retry_after=wait)
        if _content_length(scope) > (most := max_body_bytes(scope["path"])):
            return TooLarge(f"The body is longer than {most} bytes.")
        return None

    def _apply_forwarded(self, scope: Scope) -> str | None:
        """Replace a trusted proxy's address and scheme by those of its client.

        Returns:
            The client's address; None for a trusted proxy that names no client.
        """
        peer, port = scope["client"] or ("", 0)
        if not self._proxies.trusts(peer):
            return str(peer)
        headers = Headers(scope=scope)
        client = self._proxies.client(peer, headers.getlist("x-forwarded-for"))
        scope["client"] = (client or peer, port)
        scheme = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme
        return client


class _Request:
    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if REQUEST_ID.fullmatch(given) else new_id()
        self.status = 0
        self._scope = scope
        self._send = send
        self._started = time.perf_counter()
        self._is_stream = False
        scope.setdefault("state", {})["request_id"] = self.id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"]
            own = dict(headers)
            headers.extend(header for header in SECURITY_HEADERS if header[0] not in own)
            headers.append((b"x-request-id", self.id.encode()))
            self._is_stream = own.get(b"content-type", b"").startswith(b"text/event-stream")
        await self._send(message)

    def done(self) -> None:
        """Log the request and count it."""
        scope = self._scope
        seconds = time.perf_counter() - self._started
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "page" if self.status < 400 else "none")
        REQUESTS.labels(method, route, self.status).inc()
        if not self._is_stream:
            REQUEST_SECONDS.labels(route).observe(seconds)
        # The raw path: percent-encoded, so that no line break gets into the log. A query may contain a search.
        path = scope["raw_path"].decode("latin-1")
        if (link := _SHARED.match(scope["path"])) is not None:
            path = f"{link[0]}…"  # whoever has the token of a link reads the chat
        fields = {"ms": round(seconds * 1000, 1), "request_id": self.id}
        user_id = scope["state"].get("user_id")
        if user_id is not None:
            fields["user_id"] = user_id
        quiet = path in _QUIET or (path == _PROBED and self.status == HTTPStatus.OK)
        level = logging.DEBUG if quiet else logging.INFO
        log.log(level, "%s %s %d", method, path, self.status, extra=fields)


def _content_length(scope: Scope) -> int:
    try:
        return int(Headers(scope=scope).get("content-length", "0"))
    except ValueError:
        return 0
