"""What the ``mcp`` SDK reads a tool server's messages through: it has no limit of its own for their size.

One request that fails must fail alone: the SDK ends the whole connection for an error of HTTP, and reads no more from
a program after a byte that is not UTF-8.
"""

import codecs
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2

MAX_MESSAGE_BYTES: Final = 8 << 20
"""Of one message of a server. What a model gets of a result is far less; an image is not sent to it at all."""

ENCODING: Final = "parley_limited_utf_8"
"""UTF-8 whose decoder replaces what is invalid, and a line that is too long by an error; once it is registered."""

_ID_AT_BEGIN: Final = re.compile(rb'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,18})\s*,')
_ID_AT_END: Final = re.compile(rb'[,{]\s*"id"\s*:\s*(\d{1,18})\s*\}\s*\Z')
_EDGE: Final = 200
"""Bytes at either end of a line that are searched for its id."""


class LimitedLines(codecs.IncrementalDecoder):
    """Decodes a program's output line by line. In place of a line that is too long comes an error for its request.

    The SDK adds up a line in steps, each of which copies what came before, and blocks the event loop with a large one.
    """

    def __init__(self, errors: str = "replace") -> None:
        super().__init__(errors)
        self._parts: list[bytes] = []
        self._size = 0
        self._begin = self._end = b""

    def decode(self, input: Any, final: bool = False) -> str:
        *ends, rest = bytes(input).split(b"\n")
        found: list[str] = []
        for end in ends:
            self._add(end)
            found.append(self._line() + "\n")
            self._parts, self._size = [], 0
            self._begin = self._end = b""
        self._add(rest)
        return "".join(found)

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        self._begin += data[: _EDGE - len(self._begin)]
        self._end = (self._end + data[-_EDGE:])[-_EDGE:]
        if self._size <= MAX_MESSAGE_BYTES:
            self._parts.append(data)
        else:
            self._parts.clear()

    def _line(self) -> str:
        if self._size <= MAX_MESSAGE_BYTES:
            return b"".join(self._parts).decode(errors="replace")
        identity = _ID_AT_BEGIN.match(self._begin) or _ID_AT_END.search(self._end)
        if identity is None:
            return ""
        message = f"The result is larger than {MAX_MESSAGE_BYTES >> 20} MiB."
        return f'{{"jsonrpc":"2.0","id":{int(identity[1])},"error":{{"code":-32603,"message":"{message}"}}}}'


def register_encoding() -> None:
    """Make :data:`ENCODING` known. Repeated: no effect."""
    try:
        codecs.lookup(ENCODING)
    except LookupError:
        utf8 = codecs.lookup("utf-8")
        info = codecs.CodecInfo(utf8.encode, utf8.decode, incrementaldecoder=LimitedLines, name=ENCODING)
        codecs.register({ENCODING: info}.get)


class IsolatingClient(httpx2.AsyncClient):
    """Makes a response of an error of the connection, so that only its request fails.

    Attributes:
        problem: Of the last request that failed: the error's type, or the status. It has no URL.
    """

    problem: str | None = None

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            response = await super().send(request, **options)
        except httpx2.TransportError as error:
            self.problem = kind_of(error)
            return httpx2.Response(502, request=request)
        if response.status_code >= 300:
            self.problem = f"HTTP {response.status_code}"
        if response.status_code == 404 and "mcp-session-id" in request.headers:
            # Its body may say something else, but the session is gone.
            await response.aclose()
            return httpx2.Response(404, request=request)
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _LimitedBody(response.stream)
        return response


class _LimitedBody(httpx2.AsyncByteStream):
    """A body that ends early where it is too large or the connection breaks off: no JSON then."""

    def __init__(self, body: Any) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for part in self._body:
                size += len(part)
                if size > MAX_MESSAGE_BYTES:
                    return
                yield part
        except httpx2.TransportError:
            return

    async def aclose(self) -> None:
        await self._body.aclose()


def kind_of(error: BaseException) -> str:
    """The type of an error and of its cause; of a group, of the first one in it. Its text may name URLs."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    kind, reason = type(error).__name__, type(cause).__name__
    return kind if kind == reason else f"{kind} ({reason})"
