"""A websocket client with little overhead: the part of RFC 6455 that a client of a trusted server needs."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import Callable, Sequence
from typing import cast
from urllib.parse import urlsplit

import msgspec

_CLOSE, _PING, _PONG = 8, 9, 10


class RawSocket(asyncio.Protocol):
    """One websocket, which sends its first frames as soon as it is open.

    Attributes:
        on_frame: Called with each text frame.
        lost: Done when the connection has ended, with the close code; None without a close frame.
    """

    def __init__(self, first: Sequence[object], on_frame: Callable[[bytes], None]) -> None:
        """Set what to send, as JSON, once it is open."""
        self.on_frame = on_frame
        self._close_code: int | None = None
        self._first = [msgspec.json.encode(each) for each in first]
        self._buffer = b""
        self._open = False
        self._request = b""
        self._transport: asyncio.Transport
        self.lost = asyncio.get_running_loop().create_future()

    async def connect(self, url: str, receive_buffer: int | None = None) -> None:
        """Connect; frames are then passed to ``on_frame``.

        Args:
            receive_buffer: The size of the kernel's receive buffer in bytes; by default the kernel's choice.
        """
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        key = base64.b64encode(os.urandom(16)).decode()
        self._request = (
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        loop = asyncio.get_running_loop()
        connected = socket.socket()
        connected.setblocking(False)
        if receive_buffer is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await loop.sock_connect(connected, (parts.hostname, parts.port))
        await loop.create_connection(lambda: self, sock=connected)

    def drop(self) -> None:
        """Abort the connection without a close frame."""
        self._transport.abort()

    def pause(self) -> None:
        """Read nothing more from the network."""
        self._transport.pause_reading()

    def resume(self) -> None:
        self._transport.resume_reading()

    def send(self, frame: object) -> None:
        self._send(1, msgspec.json.encode(frame))

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(self._close_code)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        if not self._open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            if b" 101 " not in head[:20]:
                raise ConnectionError(head.decode(errors="replace"))
            self._open = True
            for frame in self._first:
                self._send(1, frame)
        at = 0
        size = len(data)
        while size - at >= 2:
            length = data[at + 1]
            start = at + 2
            if length == 126:
                start += 2
                length = int.from_bytes(data[at + 2 : start], "big")
            elif length == 127:
                start += 8
                length = int.from_bytes(data[at + 2 : start], "big")
            end = start + length
            if end > size or start > size:
                break
            opcode = data[at] & 15
            if opcode == 1:
                self.on_frame(data[start:end])
            else:
                self._control(opcode, data[start:end])
            at = end
        self._buffer = data[at:]

    def _control(self, opcode: int, body: bytes) -> None:
        if opcode == _PING:
            self._send(_PONG, body)
        elif opcode == _CLOSE:
            self._close_code = int.from_bytes(body[:2], "big") if len(body) >= 2 else 1005
            self._transport.close()

    def _send(self, opcode: int, body: bytes) -> None:
        # A client masks its frames; a mask of zeros leaves the bytes as they are.
        size = len(body)
        if size < 126:
            head = bytes((0x80 | opcode, 0x80 | size))
        elif size < 65536:
            head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
        self._transport.write(head + b"\0\0\0\0" + body)
