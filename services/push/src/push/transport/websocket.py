"""One websocket: websockets' Sans-I/O protocol on an asyncio transport.

Why not ``websockets.asyncio.server``: it gives each connection a task, two queues and another task for pings, and its
send costs twice the system call. Here a socket is one object without a task. All the protocol (handshake, close
handshake, pongs, masking, limits) is websockets' own; three things are ours:

- Frames are written to the transport as prepared bytes (:mod:`push.rooms.framing`). That is correct as long as the
  protocol is OPEN, no extension was negotiated and no message of ours is fragmented. The second and third never happen
  here; for the first, a socket leaves all its rooms before the state changes.
- The transport's flow control is handed to the session as it comes, instead of to a waiting ``send``.
- Fragments are put together here; the protocol bounds their sum.

The handshake is given to the protocol alone, and what follows it only once it was answered: the protocol parses frames
before it knows whether the handshake is accepted, and fails on whatever comes after one that is refused.
"""

import asyncio
import http
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from parley.contracts.frames import CloseCode, ServerFrame
from push.errors import BadFrame, Refused
from push.metrics import CLOSED
from push.rooms.framing import PING, encode
from push.transport.connection import Connection
from push.transport.session import Session

if TYPE_CHECKING:
    from push.transport.server import Server

_MAX_HEAD: Final = 16 * 1024
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_CLOSE_TIMEOUT: Final = 3.0
_MISSED_PINGS: Final = 2


class Socket(Connection):
    """A connection from accept to end.

    Attributes:
        write: Sends a prepared websocket frame of at most ``PIECE`` bytes, at once. Only while the session has not
            ``left`` and is not paused: this is the path of a delta.
    """

    __slots__ = ("_ending", "_fragments", "_head", "_missed", "_protocol", "_session", "write")

    write: Callable[[bytes], None]

    def __init__(self, server: "Server") -> None:
        super().__init__(server)
        self._session: Session | None = None
        self._fragments: list[bytes] | None = None
        self._missed = 0
        # The timer limits the time until it has authenticated, and the time of its closing handshake.
        self._ending = False
        self._protocol = ServerProtocol(max_size=server.max_frame_bytes)
        # The request until it is whole; None afterwards.
        self._head: bytearray | None = bytearray()

    # --- what the session and the server do --------------------------------------------------------------------------

    def send(self, frame: ServerFrame) -> None:
        """Send one frame, whatever the buffer holds; for the few that answer a client's own."""
        if self._protocol.state is State.OPEN:
            self.write_long(encode(frame))

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; without effect when it has begun."""
        if self._protocol.state is State.CONNECTING:
            self._transport.abort()
        elif self._protocol.state is State.OPEN:
            self.leave()
            self._protocol.send_close(code, reason)
            self._send()
            self._end_soon()

    def ping(self) -> None:
        """Send a ping; close the socket when the last ones were not answered."""
        if self._protocol.state is not State.OPEN:
            return
        if self._missed >= _MISSED_PINGS:
            self.close(CloseCode.TOO_SLOW, "no answer to pings")
            return
        self._missed += 1
        self.write_long(PING)

    def leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.left()

    def paused(self) -> None:
        if self._session is not None:
            self._session.pause()

    def resumed(self) -> None:
        if self._session is not None:
            self._session.resume()

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.write = self._transport.write
        if not self._server.admit(self):
            self._transport.abort()
            return
        self._start_timer(self._server.auth_timeout, self._too_late)

    def data_received(self, data: bytes) -> None:
        self._missed = 0
        if self._head is not None:
            data = self._take_head(data)
        if self._protocol.state is State.CONNECTING:
            return  # the request is not whole yet, or was refused: what follows does not matter
        if data:
            self._protocol.receive_data(data)
        try:
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    self._frame(event)
        except Refused as refusal:
            self.close(refusal.code, str(refusal))
        self._send()
        if self._protocol.state is not State.OPEN and self._protocol.close_expected():
            self.leave()
            self._end_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._protocol.state is not State.CONNECTING:
            self._protocol.receive_eof()
        closed = self._protocol.close_sent
        if closed is not None and not self._protocol.close_rcvd_then_sent:
            CLOSED.labels(str(closed.code)).inc()

    # --- within ------------------------------------------------------------------------------------------------------

    def _take_head(self, data: bytes) -> bytes:
        """Gather the request, answer it once it is whole, and return what came after it."""
        assert self._head is not None
        # The end may lie across two reads.
        begin = max(0, len(self._head) - 3)
        self._head += data
        found = _HEAD_END.search(self._head, begin)
        if found is None and len(self._head) <= _MAX_HEAD:
            return b""
        end = found.end() if found is not None else len(self._head)
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        self._head = None
        if end > _MAX_HEAD:
            too_large = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._protocol.send_response(self._protocol.reject(too_large, "The request is too long.\n"))
        elif self._server.hand_over(self, head, rest):
            return b""
        else:
            self._protocol.receive_data(head)
            for event in self._protocol.events_received():
                if isinstance(event, Request):
                    self._handshake(event)
        self._send()
        if self._protocol.state is State.OPEN:
            self._session = self._server.open(self)
        else:
            self._end_soon()
        return rest

    def _handshake(self, request: Request) -> None:
        refusal = self._server.refuse(self, request)
        response: Response
        if refusal is not None:
            status, text = refusal
            response = self._protocol.reject(status, text)
            if status in (http.HTTPStatus.SERVICE_UNAVAILABLE, http.HTTPStatus.TOO_MANY_REQUESTS):
                response.headers["Retry-After"] = "1"
        else:
            response = self._protocol.accept(request)
        self._protocol.send_response(response)

    def _frame(self, frame: Frame) -> None:
        session = self._session
        if session is None:
            return  # it has left its rooms: what the peer still sends does not matter
        session.arrived()
        if frame.opcode is Opcode.TEXT:
            if frame.fin:
                session.message(bytes(frame.data))
            else:
                self._fragments = [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT and self._fragments is not None:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                payload, self._fragments = b"".join(self._fragments), None
                session.message(payload)
        elif frame.opcode is Opcode.BINARY:
            raise BadFrame("binary frames are not understood")
        if session.authenticated and not self._ending:
            self._cancel_timer()

    def _too_late(self) -> None:
        self._timer = None
        self.close(CloseCode.NOT_AUTHENTICATED, "not authenticated in time")

    def _send(self) -> None:
        for data in self._protocol.data_to_send():
            if self._transport.is_closing():
                return
            self.write_long(data)

    def _end_soon(self) -> None:
        """Give the peer a moment to end the connection; once, whatever it still sends."""
        if not self._ending:
            self._ending = True
            self._start_timer(_CLOSE_TIMEOUT, self._transport.abort)
