"""One chat as server-sent events: an HTTP response without an end, on an asyncio transport.

A second transport of the rooms, for networks that break websockets. h11 parses the request and frames the response
(chunked, or for HTTP/1.0 ended with its connection). The response's head waits for the room: a reader who may not read
gets a problem instead. A slow reader is paused like a slow socket: it costs a cursor, not a queue.
"""

import http
import logging
from typing import TYPE_CHECKING, Final

import h11
import msgspec

from parley.contracts.frames import CloseCode, Error
from parley.contracts.ids import is_id
from parley.contracts.problems import MEDIA_TYPE, Problem
from parley.runtime.http_headers import SECURITY_HEADERS
from push.errors import HttpError, TooMany
from push.metrics import CLOSED
from push.rooms.reader import Reader
from push.rooms.room import Room
from push.transport.connection import Connection
from push.transport.http_request import StreamRequest
from push.transport.identities import Identity
from push.transport.session import SessionContext

if TYPE_CHECKING:
    from push.transport.server import Server

log = logging.getLogger("push.access")

HEARTBEAT: Final = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy takes the connection for dead."""

_WRITE_TIMEOUT: Final = 60.0
"""Seconds after which a client that reads nothing is dropped."""

_CLOSE_TIMEOUT: Final = 10.0
_CLIENT_CLOSED: Final = 499
"""What nginx logs for a client that left before its response."""

_MAX_INPUT: Final = 64 * 1024
"""Bytes that are read, and ignored, after a request."""

_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_PREAMBLE: Final = b"retry: 1000\n: connected\n\n"
_HEARTBEAT: Final = b": still here\n\n"
_GOODBYE: Final = b": connect again\n\n"
_SESSION_ENDED: Final = "The session has ended. Sign in again."

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    # nginx and its like would hold events back to fill a buffer.
    (b"x-accel-buffering", b"no"),
]


class EventStream(Connection):
    """A connection from its request on."""

    def __init__(self, server: "Server", context: SessionContext, chat_id: str) -> None:
        super().__init__(server)
        self._context = context
        self._chat_id = chat_id
        self._http = h11.Connection(h11.SERVER)
        self._request: StreamRequest | None = None
        self._user_id: str | None = None
        self._counted = True
        self._room: Room | None = None
        self._reader: Reader | None = None
        self._status = 0
        self._ended = False
        self._ignored = 0
        self._started_at = self._written_at = self._paused_at = context.clock()

    # --- connection --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._request is not None:
            self._ignored += len(data)
            if self._ignored > _MAX_INPUT:
                self.abort()
            return
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError:
            event = None
        if not isinstance(event, h11.Request):
            self.write_long(_BAD_REQUEST)
            self.end_writing()
            self._start_timer(_CLOSE_TIMEOUT, self._transport.abort)
            return
        self._request = StreamRequest(event)
        try:
            self._answer(self._request)
        except HttpError as error:
            self._respond_with(error)

    def close(self, code: int, reason: str = "") -> None:
        if self._status == 0:
            self._respond_with(
                HttpError(503, "unavailable", "This server is going away. Connect again.", retry_after=1)
            )
        elif not self._ended:
            CLOSED.labels(str(code)).inc()
            self._end(_GOODBYE)

    def end_session(self) -> None:
        """End the stream: the session or API key of its access token has ended."""
        if self._status == 0:
            self._respond_with(HttpError(401, "session_ended", _SESSION_ENDED))
        elif not self._ended:
            CLOSED.labels(str(CloseCode.SESSION_ENDED)).inc()
            error = Error(code="session_ended", message=_SESSION_ENDED, chat_id=self._chat_id)
            self._end(b"data: %b\n\n" % msgspec.json.encode(error))

    def leave(self) -> None:
        room, reader, user_id = self._room, self._reader, self._user_id
        self._room = self._user_id = None
        if room is not None and reader is not None:
            self._context.rooms.leave(room, reader)
        if user_id is not None:
            if self._counted:
                self._context.sockets.remove(user_id)
                self._context.chats.remove(user_id)
            self._context.identities.remove(self, user_id)
            self._log(user_id)

    def paused(self) -> None:
        self._paused_at = self._context.clock()
        if self._room is not None and self._reader is not None:
            self._room.readers.pause(self._reader)

    def resumed(self) -> None:
        if self._room is not None and self._reader is not None:
            self._context.rooms.resume(self._room, self._reader)

    # --- request -----------------------------------------------------------------------------------------------------

    def _answer(self, request: StreamRequest) -> None:
        """Let the reader into the room, which then writes.

        Raises:
            HttpError: the request is refused.
        """
        refusal = self._server.refuse_connection(self, request.headers(b"x-forwarded-for"))
        if refusal is not None:
            status, text = refusal
            code = "too_many" if status == http.HTTPStatus.TOO_MANY_REQUESTS else "unavailable"
            raise HttpError(status, code, text.strip(), retry_after=1)
        if request.method == "OPTIONS" and (allowed := request.cors_headers(self._context.origins)):
            self._respond(204, allowed)
            return
        if request.method != "GET":
            detail = "This address does not take this method."
            raise HttpError(405, "method_not_allowed", detail, headers=[(b"allow", b"GET")])
        claims = request.authenticate(self._context.keys)
        if not is_id(self._chat_id):
            raise _not_found()
        # What a program may ask for at once is limited where it is asked for.
        self._counted = not claims.for_answer
        if self._counted:
            self._count(claims.user_id)
        self._user_id = claims.user_id
        self._context.identities.add(self, Identity.of(claims))
        self._reader = Reader(
            claims.user_id,
            self._send,
            request.after,
            write_long=self._send,
            events=True,
            writable=not self._full,
            dropped=self._dropped,
        )
        # Noted before it joins: joining may write.
        self._room = self._context.rooms.room(self._chat_id)
        self._context.rooms.join(self._room, self._reader)

    def _count(self, user_id: str) -> None:
        try:
            self._context.sockets.add(user_id)
        except TooMany as error:
            detail = "There are too many open connections of this user."
            raise HttpError(429, "too_many", detail, retry_after=10) from error
        try:
            self._context.chats.add(user_id)
        except TooMany as error:
            self._context.sockets.remove(user_id)
            detail = f"The connections of one user watch at most {self._context.chats.limit} chats."
            raise HttpError(429, "too_many", detail, retry_after=10) from error

    # --- response ----------------------------------------------------------------------------------------------------

    def _send(self, events: bytes) -> None:
        """Write what the room sends; before the first snapshot that is an error, and the response a problem."""
        assert self._reader is not None
        if self._reader.epoch >= 0:
            if self._status == 0:
                assert self._request is not None
                self._begin_response(200, [*_HEADERS, *self._request.cors_headers(self._context.origins)])
                self._write(_PREAMBLE + events)
                self._tick()
            else:
                self._write(events)
        elif self._reader.warned:
            self._respond_with(HttpError(503, "unavailable", "The chat cannot be read right now.", retry_after=2))

    def _dropped(self) -> None:
        """The room dropped the reader: it may not read, or the chat was deleted."""
        if self._status == 0:
            self._respond_with(_not_found())
        else:
            self._end(b"")

    def _tick(self) -> None:
        """Send a heartbeat after a silence; end when the client reads nothing."""
        now = self._context.clock()
        if self._full and now - self._paused_at >= _WRITE_TIMEOUT:
            CLOSED.labels(str(CloseCode.TOO_SLOW)).inc()
            self.abort()
            return
        if not self._full and now - self._written_at >= HEARTBEAT:
            self._write(_HEARTBEAT)
        self._start_timer(self._written_at + HEARTBEAT - now if not self._full else HEARTBEAT, self._tick)

    def _write(self, body: bytes) -> None:
        self._written_at = self._context.clock()
        self.write_long(self._http.send(h11.Data(body)) or b"")

    def _end(self, last: bytes) -> None:
        """End the response after ``last``."""
        if self._ended:
            return
        self._ended = True
        self.leave()
        if last:
            self._write(last)
        framing = self._http.send(h11.EndOfMessage())
        if framing:
            self.write_long(framing)
        self.end_writing()
        self._start_timer(_CLOSE_TIMEOUT, self._transport.abort)

    def _respond_with(self, error: HttpError) -> None:
        if self._status or self._request is None:
            return
        problem = Problem(
            title=http.HTTPStatus(error.status).phrase,
            status=error.status,
            detail=error.detail,
            code=error.code,
            request_id=self._request.id,
        )
        headers = [(b"content-type", MEDIA_TYPE.encode()), *error.headers]
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if error.retry_after is not None:
            headers.append((b"retry-after", str(error.retry_after).encode()))
        headers += self._request.cors_headers(self._context.origins)
        self._respond(error.status, headers, b"" if self._request.method == "HEAD" else msgspec.json.encode(problem))

    def _respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        """Send a whole response."""
        if status != 204:
            headers.append((b"content-length", str(len(body)).encode()))
        self._begin_response(status, headers)
        if self._user_id is None:
            self._log(None)
        self._end(body)

    def _begin_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert self._request is not None
        self._status = status
        own = {name for name, _ in headers}
        headers += [header for header in SECURITY_HEADERS if header[0] not in own]
        headers += [(b"x-request-id", self._request.id.encode()), (b"connection", b"close")]
        head = self._http.send(h11.Response(status_code=status, headers=headers))
        assert head is not None
        self.write_long(head)

    def _log(self, user_id: str | None) -> None:
        assert self._request is not None
        fields: dict[str, object] = {
            "ms": round((self._context.clock() - self._started_at) * 1000, 1),
            "request_id": self._request.id,
        }
        if user_id is not None:
            fields["user_id"] = user_id
        log.info("%s %s %d", self._request.method, self._request.path, self._status or _CLIENT_CLOSED, extra=fields)


def _not_found() -> HttpError:
    return HttpError(404, "not_found", "There is no such chat, or you are not a member of it.")
