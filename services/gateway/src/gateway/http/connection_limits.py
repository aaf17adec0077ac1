"""The limits of a connection, before there is a request: how long, how much, how many (docs/decisions/0020).

uvicorn's protocol on ``httptools`` takes headers of any length, parses as many pipelined requests as one read holds,
reads on after each answer, and waits for a request's head for ever. :class:`Connection` feeds its parser in small
pieces and only while no request waits for its turn; :class:`Connections` counts and ends connections.
"""

import asyncio
import http
from dataclasses import dataclass, field
from typing import Any

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.http.problems import problem_response
from gateway.metrics import CONNECTIONS, CONNECTIONS_ENDED
from parley.runtime.forwarded import TrustedProxies, group_of

MAX_HEAD_BYTES = 32 * 1024
"""Request line and headers; likewise the trailers, and what frames two pieces of a chunked body."""
MAX_URL_BYTES = 8 * 1024
MAX_HEADERS = 100

_PIECE = 1024
"""Bytes that the parser is fed at once: they hold at most some fifty requests."""
_SWEEP_SECONDS = 0.25
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1024 * 1024
"""How much is still read, unseen, behind a refusal: a connection that is closed with something unread is reset, and its
client may never see why (RFC 9112 §9.6)."""

_TOO_MANY = (
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n"
    b"cache-control: no-store\r\n\r\n"
)
REFUSALS = {
    400: ("malformed", "This is not HTTP."),
    414: ("too_large", f"The address is longer than {MAX_URL_BYTES} bytes."),
    431: ("too_large", f"The headers are longer than {MAX_HEAD_BYTES} bytes, or more than {MAX_HEADERS}."),
}


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """See the settings of the same names.

    Attributes:
        trusted: Proxies: they carry many clients, so that the limit of one address does not hold for theirs.
    """

    max_connections: int
    max_connections_per_address: int
    head_seconds: float
    keep_alive_seconds: float
    write_seconds: float
    trusted: TrustedProxies = field(default_factory=lambda: TrustedProxies(""))


class Connections:
    """All connections of this process."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: dict[Connection, str] = {}
        self._of_address: dict[str, int] = {}
        # Without a request under way, the one that waits longest first.
        self._idle: dict[Connection, None] = {}

    def admit(self, connection: "Connection", address: str) -> bool:
        """Count a new connection, or return False when its address has too many.

        When all are taken, the one that has waited longest for a request makes room.
        """
        key = "" if self.limits.trusted.trusts(address) else group_of(address)
        if key and self._of_address.get(key, 0) >= self.limits.max_connections_per_address:
            return False
        if len(self._open) >= self.limits.max_connections:
            oldest = next(iter(self._idle), None)
            if oldest is None:
                return False
            oldest.end("too_many")
            self.forget(oldest)
        self._open[connection] = key
        self._of_address[key] = self._of_address.get(key, 0) + 1
        CONNECTIONS.set(len(self._open))
        return True

    def forget(self, connection: "Connection") -> None:
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
        """End connections whose time is up, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = loop.time()
            for connection in tuple(self._open):
                if connection.deadline is not None and connection.deadline < now:
                    connection.end("timeout")


class _Flow(FlowControl):
    """Reading goes on only when nothing that was read still waits for the parser."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """uvicorn's protocol within limits.

    Attributes:
        deadline: When it is ended (the loop's clock); None while a request is being answered to somebody who reads.
    """

    flow: _Flow

    def __init__(self, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._connections = connections
        self._limits = connections.limits
        self._admitted = False
        self.deadline: float | None = None
        self._unread = b""
        self._fed = 0
        # Bytes since the parser last had something of use: the head so far, trailers, what is between two chunks.
        self._framing = 0
        self._in_head = False
        self._in_message = False
        self._running: RequestResponseCycle | None = None
        # The status that ends the connection, once what came before it is answered.
        self._refusal = 0
        self._lingered = 0

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._admitted = self._connections.admit(self, address)
        if not self._admitted:
            CONNECTIONS_ENDED.labels("too_many").inc()
            transport.write(_TOO_MANY)
            transport.close()
            return
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._wait(self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.forget(self)
        self.deadline = None
        self._unread = b""
        if not self._admitted:
            return
        # uvicorn tells the newest request only, which may be one that waits behind this.
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
        self._stay(self._limits.write_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._responding is None:
            self._wait(self._limits.keep_alive_seconds)
        else:
            self.deadline = None

    # --- the parser's callbacks --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True
        if self._responding is None:
            self._stay(self._limits.head_seconds)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._reject(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here, too. Nobody waits for them, and they must not become headers of the request.
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
            # What is still in its buffer has this long to leave.
            self._stay(self._limits.write_seconds)
            return
        if self.pipeline:
            return
        self._feed()
        if self._responding is None and not self._refusal:
            # The rest of a body that nobody reads must come soon, as a head must.
            self._wait(self._limits.head_seconds if self._in_message else self._limits.keep_alive_seconds)
        elif self._responding is None:
            self._write_refusal()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = _ending_with_connection(app, cycle)
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # --- within ------------------------------------------------------------------------------------------------------

    def end(self, reason: str) -> None:
        """Close the connection; what its client has not read of an answer is lost."""
        CONNECTIONS_ENDED.labels(reason).inc()
        self.deadline = None
        self.transport.abort()

    @property
    def _responding(self) -> RequestResponseCycle | None:
        cycle: RequestResponseCycle | None = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _wait(self, seconds: float) -> None:
        self._connections.idle(self)
        self._stay(seconds)

    def _stay(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def _feed(self) -> None:
        """Feed the parser until a request waits for its turn; what is left then keeps the reading paused."""
        while self._unread and not self.pipeline and not self._refusal and not self.transport.is_closing():
            piece = self._unread[self._fed : self._fed + _PIECE]
            self._fed += len(piece)
            if self._fed >= len(self._unread):
                self._unread, self._fed = b"", 0
            self._framing += len(piece)
            self._parse(piece)
            if self._framing > MAX_HEAD_BYTES:
                self._refuse(431)
        held, self.flow.held = self.flow.held, bool(self._unread)
        if self.flow.held:
            self.flow.pause_reading()
        elif held and not self.pipeline:
            cycle = self._responding
            if cycle is None or len(cycle.body) <= HIGH_WATER_LIMIT:
                self.flow.resume_reading()

    def _parse(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            # None is offered: the request is answered as it is, and what follows it is not HTTP/1.1.
            self.cycle.keep_alive = False
            self._unread, self._fed = b"", 0
        except httptools.HttpParserError:
            self._refuse(400)

    def _reject(self, status: int) -> None:
        """Refuse from within a callback of the parser, which ends by the exception."""
        self._refuse(status)
        raise ValueError(status)

    def _refuse(self, status: int) -> None:
        """End the connection with ``status``, behind the answers to the requests before."""
        if self._refusal:
            return
        self._refusal = status
        self._unread, self._fed = b"", 0
        CONNECTIONS_ENDED.labels(REFUSALS[status][0]).inc()
        cycle = self._responding
        if cycle is None:
            self._write_refusal()
        elif self._in_head or not cycle.more_body:
            return  # it follows the answers
        elif self.pipeline:
            # A request that waits will never have its body.
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
        code, detail = REFUSALS[self._refusal]
        answer = problem_response(
            self._refusal, code, detail, request_id=None, headers={"Connection": "close", "Cache-Control": "no-store"}
        )
        head = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
        status = f"{self._refusal} {http.HTTPStatus(self._refusal).phrase}".encode()
        self.transport.write(b"HTTP/1.1 %b\r\n%b\r\n%b" % (status, head, bytes(answer.body)))
        self.transport.write_eof()
        self._wait(_LINGER_SECONDS)
        self.flow.held = False
        self.flow.resume_reading()


def _ending_with_connection(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Answer HTTP/1.0, which has no chunks: a body of unknown length ends with its connection (RFC 9112 §6.3)."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
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

    return answer
