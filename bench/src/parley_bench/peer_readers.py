"""Readers of the peers' streams and of chat completions: the delay of timed tokens, as :class:`TimingReader` has it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import ClassVar, Protocol, cast

import httptools
import msgspec

from parley_bench.reader import Counters
from parley_bench.socket import RawSocket

_CONTENT = re.compile(rb'"content":"([^"]*)"')
_LAST_NUMBER = re.compile(rb"(\d+)\D*$")


class PeerReader(Protocol):
    """One answer of a peer."""

    async def ask(self, port: int, number: int, model: str, token: str) -> None:
        """Request it and count its frames."""


class _HttpReader(asyncio.Protocol):
    """Reads the body of a response as it comes."""

    path: ClassVar[str]

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._rest = b""
        self._parser = httptools.HttpResponseParser(self)
        self._request = b""

    async def ask(self, port: int, number: int, model: str, token: str) -> None:
        body = msgspec.json.encode(self._body(f"go {number}", model))
        self._request = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        now = time.monotonic_ns()
        self._counters.frames += 1
        self._counters.bytes += len(body)
        for word in self._words(body):
            self._counters.delays.append(now - int(word))

    def _body(self, content: str, model: str) -> dict[str, object]:
        raise NotImplementedError

    def _words(self, body: bytes) -> list[bytes]:
        """Return the tokens that are complete with ``body``."""
        raise NotImplementedError


class BareReader(_HttpReader):
    """Reads the text of ``POST /chat``."""

    path = "/chat"

    def _body(self, content: str, model: str) -> dict[str, object]:
        return {"content": content, "model": model}

    def _words(self, body: bytes) -> list[bytes]:
        *words, self._rest = (self._rest + body).split(b" ")
        return [word for word in words if word]


class CompletionReader(_HttpReader):
    """Reads the chunks of a chat completion."""

    path = "/openai/v1/chat/completions"

    def _body(self, content: str, model: str) -> dict[str, object]:
        return {"messages": [{"role": "user", "content": content}], "model": model, "stream": True}

    def _words(self, body: bytes) -> list[bytes]:
        *events, self._rest = (self._rest + body).split(b"\n\n")
        return [word for event in events for text in _CONTENT.findall(event) for word in text.split()]


class WholeReader:
    """Reads frames that hold the whole answer so far, as HTML; the newest token is the last number."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def ask(self, port: int, number: int, model: str, token: str) -> None:
        socket = RawSocket([{"content": f"go {number}", "model": model}], self._receive)
        await socket.connect(f"ws://127.0.0.1:{port}/ws/{number}/")

    def _receive(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self._counters.frames += 1
        self._counters.bytes += len(data)
        if (match := _LAST_NUMBER.search(data[-64:])) is not None:
            self._counters.delays.append(now - int(match[1]))


PEERS: dict[str, Callable[[Counters], PeerReader]] = {
    "bare": BareReader,
    "celery-channels": WholeReader,
    "completions": CompletionReader,
}
