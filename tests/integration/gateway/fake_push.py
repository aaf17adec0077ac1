"""A push whose frames the test writes."""

import asyncio
from types import TracebackType
from typing import Any

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from parley.contracts import frames
from parley.runtime.tokens import TokenInvalid, verify


class Reader:
    """One socket that was opened to us."""

    def __init__(self, socket: ServerConnection, user_id: str) -> None:
        self.user_id = user_id
        self._socket = socket
        self._watches: asyncio.Queue[frames.Watch] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def watched(self) -> frames.Watch:
        """Return the next ``watch`` that it sends."""
        async with asyncio.timeout(10):
            return await self._watches.get()

    async def send(self, frame: Any) -> None:
        data = frame if isinstance(frame, bytes) else msgspec.json.encode(frame)
        await self._socket.send(data, text=True)

    async def close(self, code: int, reason: str = "") -> None:
        await self._socket.close(code, reason)

    def cut(self) -> None:
        """Drop the connection without a word."""
        self._socket.transport.abort()

    async def read(self) -> None:
        try:
            async for data in self._socket:
                self._watches.put_nowait(msgspec.json.decode(data, type=frames.Watch))
        except ConnectionClosed:
            pass
        finally:
            self.closed.set()


class FakePush:
    """Listens while entered; ``stop`` and ``start`` at will, on the same port.

    Attributes:
        refuse_with: Close the next sockets with this code instead of being ready.
        dialled: How many sockets were opened.
    """

    def __init__(self, key: str, port: int) -> None:
        self._key = key
        self._port = port
        self._server: Server | None = None
        self._readers: asyncio.Queue[Reader] = asyncio.Queue()
        self.refuse_with: int | None = None
        self.dialled = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/ws"

    async def reader(self) -> Reader:
        """Return the next socket that authenticates."""
        async with asyncio.timeout(15):
            return await self._readers.get()

    async def start(self) -> None:
        self._server = await serve(self._handle, "127.0.0.1", self._port, compression=None, close_timeout=1)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> "FakePush":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _handle(self, socket: ServerConnection) -> None:
        self.dialled += 1
        try:
            auth = msgspec.json.decode(await socket.recv(), type=frames.Auth)
        except ConnectionClosed:
            return
        if self.refuse_with is not None:
            await socket.close(self.refuse_with)
            return
        try:
            user_id = verify(self._key, "ticket", auth.ticket).user_id
        except TokenInvalid:
            await socket.close(frames.CloseCode.NOT_AUTHENTICATED)
            return
        reader = Reader(socket, user_id)
        await reader.send(frames.Ready(user_id=user_id))
        self._readers.put_nowait(reader)
        await reader.read()
