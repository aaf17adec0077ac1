"""Readers of the peers' streams, which measure the delay of timed tokens as :class:`TimingReader` does."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Protocol, cast

import httptools
import msgspec

from parley_bench.reader import Counters
from parley_bench.socket import RawSocket

_LAST_NUMBER = re.compile(rb"(\d+)\D*$")


class PeerReader(Protocol):
    """One answer of a peer."""

    async def ask(self, port: int, number: int, model: str) -> None:
        """Request it and count its frames."""


class BareReader(asyncio.Protocol):
    """Reads the text of ``POST /chat`` as it comes."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._rest = b""
        self._parser = httptools.HttpResponseParser(self)
        self._request = b""

    async def ask(self, port: int, number: int, model: str) -> None:
        body = msgspec.json.encode({"content": f"go {number}", "model": model})
        self._request = (
            f"POST /chat HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        now = time.monotonic_ns()
        *words, self._rest = (self._rest + body).split(b" ")
        self._counters.frames += 1
        self._counters.bytes += len(body)
        for word in words:
            if word:
                self._counters.delays.append(now - int(word))


class WholeReader:
    """Reads frames that hold the whole answer so far, as HTML; the newest token is the last number."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def ask(self, port: int, number: int, model: str) -> None:
        socket = RawSocket([{"content": f"go {number}", "model": model}], self._receive)
        await socket.connect(f"ws://127.0.0.1:{port}/ws/{number}/")

    def _receive(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self._counters.frames += 1
        self._counters.bytes += len(data)
        if (match := _LAST_NUMBER.search(data[-64:])) is not None:
            self._counters.delays.append(now - int(match[1]))


PEERS: dict[str, Callable[[Counters], PeerReader]] = {"bare": BareReader, "celery-channels": WholeReader}
