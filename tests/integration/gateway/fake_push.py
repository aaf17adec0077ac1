"""A push whose streams of events the test writes."""

import asyncio
import http
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11
import msgspec

from parley.contracts import frames
from parley.contracts.problems import MEDIA_TYPE, Problem
from parley.runtime.tokens import KeyRing, TokenInvalid


class Reader:
    """One stream that was opened to us.

    Attributes:
        last_event_id: The id of the last event that it has.
        headers: Of its request.
    """

    def __init__(
        self,
        user_id: str,
        chat_id: str,
        last_event_id: str | None,
        headers: dict[str, str],
        writer: asyncio.StreamWriter,
    ) -> None:
        self.user_id = user_id
        self.chat_id = chat_id
        self.last_event_id = last_event_id
        self.headers = headers
        self._writer = writer
        self._cursor: frames.Cursor | None = None
        self.closed = asyncio.Event()

    @property
    def after(self) -> frames.Cursor | None:
        """What it says that it has."""
        return msgspec.json.decode(self.last_event_id, type=frames.Cursor) if self.last_event_id else None

    async def send(self, frame: Any) -> None:
        """Send a frame as an event, with the cursor of a reader who has it."""
        event_id = self._id_after(frame)
        data = frame if isinstance(frame, bytes) else msgspec.json.encode(frame)
        await self.write((b"id: %b\n" % event_id if event_id else b"") + b"data: %b\n\n" % data)

    async def write(self, body: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(body), body))
        await self._writer.drain()

    async def drain(self) -> None:
        """End the response as a push does that goes away."""
        await self.write(b": connect again\n\n")
        await self.end()

    async def end(self) -> None:
        """End the response as push does when the chat is gone."""
        self._writer.write(b"0\r\n\r\n")
        self._writer.close()

    def cut(self) -> None:
        """Drop the connection."""
        self._writer.transport.abort()

    def _id_after(self, frame: Any) -> bytes | None:
        match frame:
            case frames.Snapshot(generation=None):
                self._cursor = frames.Cursor(version=frame.version)
            case frames.Snapshot(generation=running):
                assert running is not None
                self._cursor = frames.Cursor(
                    version=frame.version,
                    generation_id=running.generation_id,
                    attempt=running.attempt,
                    seq=running.seq,
                )
            case frames.MessageFrame() if self._cursor is not None:
                # Other frames of the change may follow.
                self._cursor = frames.Cursor(version=self._cursor.version)
            case frames.Delta() if self._cursor is not None:
                self._cursor = msgspec.structs.replace(self._cursor, seq=frame.to)
            case _:
                return None
        return msgspec.json.encode(self._cursor)


class FakePush:
    """Listens while entered; ``stop`` and ``start`` at will, on the same port.

    Attributes:
        refuse_with: Answer the next requests with this status and problem code.
    """

    def __init__(self, key: str, port: int) -> None:
        self._key = key
        self._port = port
        self._server: asyncio.Server | None = None
        self._readers: asyncio.Queue[Reader] = asyncio.Queue()
        self._connections: set[asyncio.StreamWriter] = set()
        self.refuse_with: tuple[int, str] | None = None

    @property
    def url(self) -> str:
        """The address of its websocket, as ``PUSH_URL`` has it."""
        return f"ws://127.0.0.1:{self._port}/ws"

    async def reader(self) -> Reader:
        """Return the next stream that is opened."""
        async with asyncio.timeout(15):
            return await self._readers.get()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", self._port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._connections):
                writer.transport.abort()
            self._server = None

    async def __aenter__(self) -> "FakePush":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _handle(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        reader = None
        try:
            reader = await self._answer(await stream.readuntil(b"\r\n\r\n"), writer)
            if reader is not None:
                self._readers.put_nowait(reader)
                await stream.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()
            if reader is not None:
                reader.closed.set()

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> Reader | None:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(head)
        request = connection.next_event()
        assert isinstance(request, h11.Request)
        headers = {name.decode(): value.decode() for name, value in request.headers}
        target = urlsplit(request.target.decode())
        _, v1, chats, chat_id, stream = target.path.split("/")
        assert (v1, chats, stream) == ("v1", "chats", "stream")
        refusal = self.refuse_with
        try:
            user_id = KeyRing([self._key]).verify("access", headers["authorization"].removeprefix("Bearer ")).user_id
        except TokenInvalid:
            refusal = (401, "token_invalid")
        if refusal is not None:
            status, code = refusal
            title = http.HTTPStatus(status).phrase
            problem = msgspec.json.encode(Problem(title=title, status=status, detail="Refused by a test.", code=code))
            writer.write(
                f"HTTP/1.1 {status} {title}\r\ncontent-type: {MEDIA_TYPE}\r\nconnection: close\r\n"
                f"content-length: {len(problem)}\r\n\r\n".encode()
                + problem
            )
            return None
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        reader = Reader(user_id, chat_id, dict(parse_qsl(target.query)).get("after"), headers, writer)
        await reader.write(b"retry: 1000\n: connected\n\n")
        return reader
