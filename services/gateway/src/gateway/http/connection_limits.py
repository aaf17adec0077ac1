"""Limits of a connection, before there is a request: of time, of size, of number (docs/decisions/0020).

uvicorn's protocol on ``httptools`` accepts headers of any length, parses all pipelined requests that one read returned,
continues to read after each response, and waits for a request's head without a limit. :class:`Connection` feeds its
parser in small chunks and only while no request is queued; :class:`Connections` counts and closes connections.
"""

import asyncio
import functools
import http
from collections import Counter
from typing import Any

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.errors import GatewayError, Malformed, TooLarge, TooMany
from gateway.http.problems import error_response
from gateway.metrics import CONNECTIONS, CONNECTIONS_ENDED
from gateway.settings import Settings
from parley.runtime.forwarded import group_of

MAX_HEAD_BYTES = 32 * 1024
"""Request line and headers; likewise the trailers, and what frames two pieces of a chunked body."""
MAX_URL_BYTES = 8 * 1024
MAX_HEADERS = 100

_CHUNK_BYTES = 1024
"""Bytes that the parser is fed at once: at most about fifty requests."""
_SWEEP_SECONDS = 0.25
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1024 * 1024
"""How much is read and discarded after a refusal: a connection that is closed with unread data is reset, and its client
may not see the response (RFC 9112 §9.6)."""

_TOO_MANY = TooMany("Too many connections from this address.", retry_after=5)
REFUSALS = {
    400: Malformed("This is not HTTP."),
    414: TooLarge(f"The address is longer than {MAX_URL_BYTES} bytes.", status=414),
    431: TooLarge(f"The headers are longer than {MAX_HEAD_BYTES} bytes, or more than {MAX_HEADERS}.", status=431),
}


class Connections:
    """All connections of this process, which can have ``most`` at once."""

    def __init__(self, settings: Settings, most: int) -> None:
        self.settings = settings
        self._most = most
        self._trusted = settings.proxies
        self._open: dict[Connection, str] = {}
        self._of_address = Counter[str]()
        # Without a request in progress, the one that waits longest first.
        self._idle: dict[Connection, None] = {}

    def admit(self, connection: "Connection", address: str) -> bool:
        """Count a new connection, or return False when its address has too many. A trusted proxy has many clients.

        At the limit for all, the connection that has waited longest for a request is closed for the new one.
        """
        key = "" if self._trusted.trusts(address) else group_of(address)
        if key and self._of_address[key] >= self.settings.max_connections_per_address:
            return False
        if len(self._open) >= self._most:
            oldest = next(iter(self._idle), None)
            if oldest is None:
                return False
            oldest.end("too_many")
            self.remove(oldest)
        self._open[connection] = key
        self._of_address[key] += 1
        CONNECTIONS.set(len(self._open))
        return True

    def remove(self, connection: "Connection") -> None:
        key = self._open.pop(connection, None)
        self._idle.pop(connection, None)
        if key is None:
            return
        self._of_address[key] -= 1
        if not self._of_address[key]:
            del self._of_address[key]
        CONNECTIONS.set(len(self._open))

    def idle(self, connection: "Connection") -> None:
        self._idle.pop(connection, None)
        self._idle[connection] = None

    def busy(self, connection: "Connection") -> None:
        self._idle.pop(connection, None)

    async def watch(self) -> None:
        """Close connections after their deadline, until cancelled.

        Time in which this process did not run is not the clients': what they sent meanwhile has not been read yet, and
        a connection that is closed with unread data is reset. uvloop runs timers before it reads.
        """
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _SWEEP_SECONDS
            await asyncio.sleep(_SWEEP_SECONDS)
            now = loop.time()
            late = now - due
            for connection in tuple(self._open):
                if connection.deadline is None:
                    continue
                if late > _SWEEP_SECONDS:
                    connection.deadline += late
                if connection.deadline < now:
                    connection.end("timeout")


class _Flow(FlowControl):
    """Resumes reading only when the parser has had all that was read."""

    unparsed = False

    def resume_reading(self) -> None:
        if not self.unparsed:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """uvicorn's protocol within limits.

    Attributes:
        deadline: When it is closed (the loop's clock); None during a response to a client that reads.
    """

    flow: _Flow

    def __init__(self, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._connections = connections
        self._settings = connections.settings
        self._admitted = False
        self.deadline: float | None = None
        self._unread = b""
        self._fed = 0
        # Bytes since the parser last produced something: of the head so far, of trailers, between two chunks.
        self._framing = 0
        self._in_head = False
        self._in_message = False
        self._running: RequestResponseCycle | None = None
        # The status that ends the connection, after the responses to earlier requests.
        self._refusal = 0
        self._lingered = 0

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._admitted = self._connections.admit(self, address)
        if not self._admitted:
            CONNECTIONS_ENDED.labels("too_many").inc()
            transport.write(_last_response(_TOO_MANY))
            transport.close()
            return
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._set_idle(self._settings.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        self.deadline = None
        self._unread = b""
        if not self._admitted:
            return
        # uvicorn notifies the newest request only, which may be one that is queued after this.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        if self._refusal:
            self._lingered += len(data)
            if self._lingered > _LINGER_BYTES:
                self.transport.abort()
            return
        self._unread = self._unread[self._fed :] + data
        self._fed = 0
        self._feed()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._set_deadline(self._settings.write_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._responding is None:
            self._set_idle(self._settings.keep_alive_seconds)
        else:
            self.deadline = None

    # --- the parser's callbacks --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True
        if self._responding is None:
            self._set_deadline(self._settings.head_seconds)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._reject(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Also called for trailers, which must not become headers of the request.
        if not self._in_head:
            return
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._reject(431)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._framing = 0
        super().on_headers_complete()
        self._connections.busy(self)
        if not self.flow.write_paused:
            self.deadline = None

    def on_body(self, body: bytes) -> None:
        self._framing = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        self._framing = 0
        super().on_message_complete()

    # --- uvicorn's own steps -----------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            # The time to flush its buffer.
            self._set_deadline(self._settings.write_seconds)
            return
        if self.pipeline:
            return
        self._feed()
        if self._responding is None and not self._refusal:
            # The rest of a body that is not read has the timeout of a head.
            self._set_idle(self._settings.head_seconds if self._in_message else self._settings.keep_alive_seconds)
        elif self._responding is None:
            self._write_refusal()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = _close_delimited(app, cycle)
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # --- within ------------------------------------------------------------------------------------------------------

    def end(self, reason: str) -> None:
        """Close the connection; what its client has not read of a response is lost."""
        CONNECTIONS_ENDED.labels(reason).inc()
        self.deadline = None
        self.transport.abort()

    @property
    def _responding(self) -> RequestResponseCycle | None:
        cycle: RequestResponseCycle | None = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _set_idle(self, seconds: float) -> None:
        self._connections.idle(self)
        self._set_deadline(seconds)

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def _feed(self) -> None:
        """Feed the parser until a request is queued; while data is left, reading stays paused."""
        while self._unread and not self.pipeline and not self._refusal and not self.transport.is_closing():
            chunk = self._unread[self._fed : self._fed + _CHUNK_BYTES]
            self._fed += len(chunk)
            if self._fed >= len(self._unread):
                self._unread, self._fed = b"", 0
            self._framing += len(chunk)
            self._parse(chunk)
            if self._framing > MAX_HEAD_BYTES:
                self._refuse(431)
        was_paused, self.flow.unparsed = self.flow.unparsed, bool(self._unread)
        if self.flow.unparsed:
            self.flow.pause_reading()
        elif was_paused and not self.pipeline:
            cycle = self._responding
            if cycle is None or len(cycle.body) <= HIGH_WATER_LIMIT:
                self.flow.resume_reading()

    def _parse(self, chunk: bytes) -> None:
        try:
            self.parser.feed_data(chunk)
        except httptools.HttpParserUpgrade:
            # None is supported: the request gets its response, and what follows it is not HTTP/1.1.
            self.cycle.keep_alive = False
            self._unread, self._fed = b"", 0
        except httptools.HttpParserError:
            self._refuse(400)

    def _reject(self, status: int) -> None:
        """Refuse within a callback of the parser, which stops at the exception."""
        self._refuse(status)
        raise ValueError(status)

    def _refuse(self, status: int) -> None:
        """End the connection with ``status``, after the responses to earlier requests."""
        if self._refusal:
            return
        self._refusal = status
        self._unread, self._fed = b"", 0
        CONNECTIONS_ENDED.labels(REFUSALS[status].code).inc()
        cycle = self._responding
        if cycle is None:
            self._write_refusal()
        elif self._in_head or not cycle.more_body:
            return  # written after those responses
        elif self.pipeline:
            # The queued request will never get its body.
            self.pipeline.popleft()
            assert self._running is not None
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running
        elif cycle.response_started:
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._write_refusal()

    def _write_refusal(self) -> None:
        self.transport.write(_last_response(REFUSALS[self._refusal]))
        self.transport.write_eof()
        self._set_idle(_LINGER_SECONDS)
        self.flow.unparsed = False
        self.flow.resume_reading()


@functools.cache
def _last_response(error: GatewayError) -> bytes:
    """Encode an error as the response that ends its connection."""
    response = error_response("", error)
    response.headers.update({"Connection": "close", "Cache-Control": "no-store"})
    head = b"".join(b"%b: %b\r\n" % header for header in response.raw_headers)
    phrase = http.HTTPStatus(error.status).phrase.encode()
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (error.status, phrase, head, bytes(response.body))


def _close_delimited(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Adapt ``app`` to HTTP/1.0: closing the connection ends a body of unknown length (RFC 9112 §6.3)."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        unframed = False

        async def send_unframed(message: Message) -> None:
            nonlocal unframed
            if message["type"] == "http.response.start":
                unframed = all(name.lower() != b"content-length" for name, _ in message["headers"])
                if unframed:
                    cycle.chunked_encoding = False
            elif unframed:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_unframed)

    return respond
