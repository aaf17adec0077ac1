"""One websocket to push, from connecting to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from parley.contracts import frames
from parley_client.state import decode
from parley_client.tasks import cancel_and_wait

_READY_TIMEOUT = 15.0
ABNORMAL = 1006
"""The code of a socket that ended without a close frame (RFC 6455 §7.1.5)."""


class SocketLine:
    """Sends frames in order, and calls ``on_frame`` with received ones.

    Attributes:
        ready: Whether it carries frames.
    """

    def __init__(self, url: str, on_ready: Callable[[], None], on_frame: Callable[[frames.ServerFrame], None]) -> None:
        self._url = url
        self._on_ready = on_ready
        self._on_frame = on_frame
        self._socket: ClientConnection | None = None
        self._outbox: asyncio.Queue[frames.ClientFrame] = asyncio.Queue()
        self.ready = False

    async def run(self, ticket: str) -> tuple[int, str]:
        """Connect, authenticate and read until the end; return its code and reason."""
        try:
            async with connect(
                self._url, compression=None, max_size=None, ping_interval=20, open_timeout=_READY_TIMEOUT
            ) as socket:
                self._socket = socket
                await socket.send(msgspec.json.encode(frames.Auth(ticket=ticket)).decode())
                async with asyncio.timeout(_READY_TIMEOUT):
                    while not isinstance(decode(await socket.recv()), frames.Ready):
                        pass
                self.ready = True
                self._on_ready()
                await self._exchange(socket)
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (ABNORMAL, "")
        except (OSError, TimeoutError, WebSocketException) as error:
            return ABNORMAL, str(error)
        finally:
            self.ready = False
            self._socket = None
        return 1000, ""

    async def _exchange(self, socket: ClientConnection) -> None:
        sender = asyncio.create_task(self._send_all(socket))
        try:
            async for data in socket:
                frame = decode(data)
                if frame is not None:
                    self._on_frame(frame)
            # Iterating ends quietly on 1000 and 1001; the code matters all the same.
            await socket.recv()
        finally:
            await cancel_and_wait(sender)

    async def _send_all(self, socket: ClientConnection) -> None:
        while True:
            frame = await self._outbox.get()
            await socket.send(msgspec.json.encode(frame).decode())

    def send(self, frame: frames.ClientFrame) -> None:
        """Send in order; what is not sent when the socket ends is dropped."""
        if self.ready:
            self._outbox.put_nowait(frame)

    def drop(self) -> None:
        """Drop the connection without a close frame, as a network does."""
        if self._socket is not None:
            self._socket.transport.abort()
