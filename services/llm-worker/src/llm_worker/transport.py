"""A transport for the HTTP client that costs little per read.

The client's own transport takes the body apart with h11 and passes it through eight generators: 140 µs for each of a
model's chunks, and one chunk at a time even when one read held twenty. This one gives out what a read held, as it
came, for about 20 µs of which most is the kernel's (``docs/decisions/0003``: one read, one delta). HTTP/1.1 over TCP
or TLS; heads are h11's.

A response carries its body as ``extensions[BODY]`` too: :meth:`DirectBody.pour` hands over each read within the turn of
the loop that made it. To iterate costs a wake-up of the task and three generators for each read, which is as much as
all else that a token costs the worker.
"""

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, cast

import h11
import httpx2

from llm_worker.http_body import Body, ProtocolViolation, body_of

log = logging.getLogger(__name__)

_MAX_HEAD: Final = 64 * 1024
_HIGH_WATER: Final = 1024 * 1024
"""Bytes that may wait to be taken before we stop reading from the socket."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

BODY: Final = "parley.body"
"""The extension of a response that is its :class:`DirectBody`."""

Take = Callable[[bytes], bool]
"""Takes what one read held; returns whether to go on."""

_Origin = tuple[str, str, int]


class DirectTransport(httpx2.AsyncBaseTransport):
    """HTTP/1.1 straight to the server, with a pool of idle connections per origin.

    Args:
        keepalive: Seconds that an idle connection is kept.
    """

    def __init__(self, *, keepalive: float) -> None:
        self._keepalive = keepalive
        self._ssl: ssl.SSLContext | None = None
        self._idle: dict[_Origin, list[_Connection]] = defaultdict(list)
        self._connections: set[_Connection] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        timeouts = request.extensions.get("timeout", {})
        head = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
        payload = await _serialised(head, request)
        origin = _origin_of(request)
        while True:
            connection = self._take_idle(origin)
            reused = connection is not None
            if connection is None:
                connection = await self._connect(origin, timeouts.get("connect"))
            try:
                connection.write(payload)
                response = await _receive_head(head, connection, timeouts.get("read"))
                break
            except _NothingCame as error:
                connection.abort()
                # The server closed an idle connection just as we took it: it has not seen the request.
                if not reused:
                    raise httpx2.RemoteProtocolError("The server closed the connection without an answer") from error
                head = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
                payload = await _serialised(head, request)
            except BaseException:
                connection.abort()
                raise
        headers = list(response.headers)
        try:
            body = body_of(response.status_code, headers)
        except ProtocolViolation as error:
            connection.abort()
            raise httpx2.RemoteProtocolError(str(error)) from error
        keep = response.http_version == b"1.1" and not any(
            name == b"connection" and b"close" in value.lower() for name, value in headers
        )
        stream = DirectBody(self, connection, body, head.trailing_data[0], keep=keep, timeout=timeouts.get("read"))
        return httpx2.Response(
            response.status_code,
            headers=response.headers.raw_items(),
            stream=stream,
            extensions={
                "http_version": b"HTTP/" + response.http_version,
                "reason_phrase": response.reason,
                BODY: stream,
            },
        )

    async def aclose(self) -> None:
        for connection in list(self._connections):
            connection.abort()
        self._idle.clear()

    def give_back(self, connection: "_Connection") -> None:
        """Keep a connection for the next request to its origin."""
        self._idle[connection.origin].append(connection)
        connection.idle(self._keepalive)

    def forget(self, connection: "_Connection") -> None:
        """The connection is closed."""
        self._connections.discard(connection)
        idle = self._idle.get(connection.origin, [])
        if connection in idle:
            idle.remove(connection)

    def _take_idle(self, origin: _Origin) -> "_Connection | None":
        idle = self._idle.get(origin)
        if not idle:
            return None
        connection = idle.pop()
        connection.busy()
        return connection

    async def _connect(self, origin: _Origin, timeout: float | None) -> "_Connection":
        scheme, host, port = origin
        context = await self._ssl_context() if scheme == "https" else None
        try:
            async with asyncio.timeout(timeout):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(self, origin), host, port, ssl=context
                )
        except TimeoutError as error:
            raise httpx2.ConnectTimeout(f"no connection to {host}:{port} within {timeout} s") from error
        except (OSError, ssl.SSLError) as error:
            raise httpx2.ConnectError(f"{host}:{port}: {error}") from error
        self._connections.add(connection)
        return connection

    async def _ssl_context(self) -> ssl.SSLContext:
        if self._ssl is None:
            # Reads the certificates of the machine: tens of milliseconds.
            self._ssl = await asyncio.to_thread(httpx2.create_ssl_context)
        return self._ssl


class _NothingCame(Exception):
    """The connection was closed before any byte of an answer."""


class _Connection(asyncio.Protocol):
    """A connection and the bytes that wait to be taken from it. One reader at a time."""

    def __init__(self, transport: DirectTransport, origin: _Origin) -> None:
        self.origin = origin
        self._owner = transport
        self._loop = asyncio.get_running_loop()
        self._socket: asyncio.Transport
        self._parts: list[bytes] = []
        self._size = 0
        self._paused = False
        self._closed = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    # --- for the transport -------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._socket.write(data)

    async def read(self) -> bytes:
        """Return all that has come since the last read; waits for something. Empty: the server closed.

        Raises:
            httpx2.ReadError: the connection broke.
        """
        if not self._parts and not self._closed:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._parts:
            self._check()
            return b""
        return self._waiting()

    async def pour(self, take: Take) -> bool:
        """Hand over what comes, as soon as it comes, until ``take`` returns false. Whether the server closed before.

        What ``take`` raises is raised here.

        Raises:
            httpx2.ReadError: the connection broke.
        """
        if self._parts and not take(self._waiting()):
            return False
        if not self._closed:
            over = self._waiter = self._loop.create_future()
            taken = False

            def sink(data: bytes) -> None:
                nonlocal taken
                if over.done():
                    return  # interrupted, or the server closed: nobody wants it any more
                try:
                    if take(data):
                        return
                except Exception as error:
                    over.set_exception(error)
                else:
                    taken = True
                    over.set_result(None)
                # Now, not when our task wakes up: by then somebody else may have the connection.
                self._sink = self._waiter = None

            self._sink = sink
            try:
                await over
            finally:
                if self._sink is sink:
                    self._sink = self._waiter = None
            if taken:
                return False
        self._check()
        return True

    def _waiting(self) -> bytes:
        """What has come and was not taken."""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self._socket.resume_reading()
        return data

    def _check(self) -> None:
        if self._error is not None:
            raise httpx2.ReadError(repr(self._error))

    def idle(self, seconds: float) -> None:
        self._expiry = self._loop.call_later(seconds, self.abort)

    def busy(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def abort(self) -> None:
        """Close at once, without waiting for the server's word."""
        self._closed = True
        self._owner.forget(self)
        self.busy()
        self._socket.abort()

    @property
    def usable(self) -> bool:
        """Open, and nothing came that nobody asked for."""
        return not self._closed and not self._parts

    # --- for the event loop ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink(data)
            return
        self._parts.append(data)
        self._size += len(data)
        if self._expiry is not None:
            self.abort()  # idle, and nothing was asked
        elif self._size > _HIGH_WATER and not self._paused:
            self._paused = True
            self._socket.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._closed = True
        self._wake()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        self._error = error
        self._owner.forget(self)
        self.busy()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class DirectBody(httpx2.AsyncByteStream):
    """A response's body: one item for each read, or poured out."""

    def __init__(
        self,
        transport: DirectTransport,
        connection: _Connection,
        body: Body,
        first: bytes,
        *,
        keep: bool,
        timeout: float | None,
    ) -> None:
        self._transport = transport
        self._connection: _Connection | None = connection
        self._body = body
        self._first = first
        self._keep = keep
        self._timeout = timeout

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body, connection, timeout = self._body, self._connection, self._timeout
        if connection is None:
            return
        try:
            data = self._first
            while True:
                if data:
                    payload = body.feed(data)
                    if body.done:
                        # Before the last bytes are given out: whoever takes them may not come back for more.
                        self._release()
                    if payload:
                        yield payload
                if body.done:
                    self._release()
                    return
                data = await (connection.read() if timeout is None else _within(timeout, connection))
                if not data:
                    if not body.close():
                        raise httpx2.RemoteProtocolError("The server closed the connection in the middle of its answer")
                    self._release()
                    return
        except ProtocolViolation as error:
            raise httpx2.RemoteProtocolError(str(error)) from error

    async def pour(self, take: Take) -> None:
        """Hand over the body, each read of it as soon as it comes, until its end or until ``take`` returns false.

        ``take`` is called within the event loop's callback for the read; what it raises is raised here. Silence is for
        the caller to notice: there is no timeout.

        Raises:
            httpx2.HTTPError
        """
        body, connection = self._body, self._connection
        if connection is None:
            return

        def feed(data: bytes) -> bool:
            payload = body.feed(data)
            if body.done:
                # Before the last bytes are handed over: whoever takes them may raise.
                self._release()
            more = take(payload) if payload else True
            return more and not body.done

        try:
            if body.done:
                self._release()
                return
            first, self._first = self._first, b""
            if first and not feed(first):
                return
            if await connection.pour(feed):
                if not body.close():
                    raise httpx2.RemoteProtocolError("The server closed the connection in the middle of its answer")
                self._release()
        except ProtocolViolation as error:
            raise httpx2.RemoteProtocolError(str(error)) from error

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._keep and connection.usable and not self._body.surplus:
            self._transport.give_back(connection)
        else:
            connection.abort()


def _origin_of(request: httpx2.Request) -> _Origin:
    url = request.url
    if url.scheme not in _DEFAULT_PORTS:
        raise httpx2.UnsupportedProtocol(f"The address {str(url)!r} does not begin with http:// or https://")
    return url.scheme, url.host, url.port or _DEFAULT_PORTS[url.scheme]


async def _serialised(head: h11.Connection, request: httpx2.Request) -> bytes:
    content = await request.aread()
    try:
        return b"".join(
            head.send(event) or b""
            for event in (
                h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw),
                h11.Data(data=content),
                h11.EndOfMessage(),
            )
        )
    except h11.LocalProtocolError as error:
        raise httpx2.LocalProtocolError(str(error)) from error


async def _receive_head(head: h11.Connection, connection: _Connection, timeout: float | None) -> h11.Response:
    anything = False
    try:
        while True:
            event: Any = head.next_event()
            if isinstance(event, h11.Response):
                return event
            if event is h11.NEED_DATA:
                data = await _within(timeout, connection)
                if not data:
                    if not anything:
                        raise _NothingCame
                    raise httpx2.RemoteProtocolError("The server closed the connection in the head of its answer")
                anything = True
                head.receive_data(data)
            elif not isinstance(event, h11.InformationalResponse):
                raise httpx2.RemoteProtocolError(f"Not the head of an answer: {event!r}")
    except h11.RemoteProtocolError as error:
        raise httpx2.RemoteProtocolError(str(error)) from error
    except httpx2.ReadError as error:
        if anything:
            raise
        raise _NothingCame from error


async def _within(timeout: float | None, connection: _Connection) -> bytes:
    if timeout is None:
        return await connection.read()
    try:
        async with asyncio.timeout(timeout):
            return await connection.read()
    except TimeoutError as error:
        raise httpx2.ReadTimeout(f"nothing came for {timeout} s") from error
