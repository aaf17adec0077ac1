"""An HTTP/1.1 connection that costs little: a general client takes a millisecond of CPU for each request."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import msgspec


class BadStatus(Exception):
    """The answer was not a 2xx."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:300]!r}")
        self.status = status


class HttpConnection:
    """One kept-alive connection, one request at a time; an asynchronous context manager."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._place = parts.hostname, parts.port
        self.token = token
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> HttpConnection:
        self._reader, self._writer = await asyncio.open_connection(*self._place)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send JSON, return JSON. Raises BadStatus."""
        data = b"" if body is None else msgspec.json.encode(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._place[0]}:{self._place[1]}\r\n"
        if self.token:
            head += f"Authorization: Bearer {self.token}\r\n"
        if data:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + data)
        status, answer = await self._response()
        if not 200 <= status < 300:
            raise BadStatus(status, answer)
        return msgspec.json.decode(answer) if answer else None

    async def _response(self) -> tuple[int, bytes]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:] if line)
        if headers.get(b"transfer-encoding") == b"chunked":
            raise NotImplementedError("the gateway's JSON comes with its length")
        return int(lines[0].split(b" ", 2)[1]), await self._reader.readexactly(
            int(headers.get(b"content-length", b"0"))
        )
