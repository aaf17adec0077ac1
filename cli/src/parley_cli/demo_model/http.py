"""A minimal HTTP/1.1 server: requests with a bounded body, responses, and streams that are written piece by piece.

A general server costs 15–20 µs for each piece of a stream; writing to the transport costs three, and the demo model has
to feed five hundred answers from a part of a core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias, cast

import httptools

MAX_BODY = 8 * 1024 * 1024


@dataclass
class HttpRequest:
    method: str = ""
    target: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


Handler: TypeAlias = "Callable[[HttpRequest, Connection], None]"
"""Responds by ``connection.respond``, or writes a stream and then calls ``connection.finished``."""


class Connection(asyncio.Protocol):
    """One connection; requests on it are answered one after the other.

    Attributes:
        on_lost: Called once when the connection ends, by either side, while a stream has it.
        on_writable: Called when the client reads again.
        paused: The client reads too slowly: write nothing.
    """

    def __init__(self, handler: Handler, counted: Callable[[int], None]) -> None:
        self._handler = handler
        self._counted = counted
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._request = HttpRequest()
        self._busy = False
        self._keep_alive = True
        self._waiting: list[HttpRequest] = []
        self.on_lost: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.paused = False

    # --- for handlers ------------------------------------------------------------------------------------------------

    def respond(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Respond with JSON, and be ready for the next request."""
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        all_headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})
        lines += [f"{name}: {value}" for name, value in all_headers.items()]
        self._transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.finished()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def finished(self) -> None:
        """End the response; the next request may start."""
        self._busy = False
        self.on_lost = self.on_writable = None
        if not self._keep_alive:
            self._transport.close()
        elif self._waiting:
            self._begin(self._waiting.pop(0))

    def cut(self) -> None:
        """Close the connection in the middle of the response; what was written is still sent."""
        self.on_lost = self.on_writable = None
        self._transport.close()

    # --- asyncio -----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not one by inheritance
        self._counted(+1)

    def connection_lost(self, error: Exception | None) -> None:
        self._counted(-1)
        self._waiting.clear()
        if self.on_lost is not None:
            self.on_lost()
        self.on_lost = self.on_writable = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.on_writable is not None:
            self.on_writable()

    # --- httptools ---------------------------------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        self._request.target += url.decode("ascii", "replace")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._request.body += body
        if len(self._request.body) > MAX_BODY:
            self._transport.close()

    def on_message_complete(self) -> None:
        request = self._request
        request.method = self._parser.get_method().decode()
        request.keep_alive = self._parser.should_keep_alive()
        self._request = HttpRequest()
        if self._busy:
            self._waiting.append(request)
        else:
            self._begin(request)

    def _begin(self, request: HttpRequest) -> None:
        if self._transport.is_closing():
            return
        self._busy = True
        self._keep_alive = request.keep_alive
        self._handler(request, self)
