"""A chat's frames as server-sent events, for networks that break websockets.

A bridge: the gateway opens a socket to push on the reader's behalf and relays its frames, so that rooms exist in one
place only. When push goes away (a drain, a crash) the bridge goes over to another push with the reader's cursor, and
the reader notices nothing. A reader that is slow makes the bridge stop reading from push, whose own rule for slow
readers then applies: nothing is queued here but a frame or two and the buffers of two sockets.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from gateway.errors import TooMany, Unavailable
from gateway.http.event_cursor import Follower, Verdict
from gateway.metrics import STREAM_FRAMES, STREAM_RECONNECTS, STREAMS
from parley.contracts import frames
from parley.runtime.tokens import issue

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed

log = logging.getLogger(__name__)

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy takes the line for dead."""

_CONNECT_SECONDS = 5.0
_RECONNECT_SECONDS = 30.0
"""How long a bridge looks for another push before it ends; the reader then comes back by itself."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 3.0
_TICKET_SECONDS = 60.0
_MAX_FRAME = 8 * 1024 * 1024

_PREAMBLE = b"retry: 1000\n: connected\n\n"
_HEARTBEAT = b": still here\n\n"
_GOODBYE = b": connect again\n\n"


class PushRefused(Exception):
    """Push closed the socket with a code that says not to come back."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"push closed with {code} {reason}")
        self.code = code


class PushAway(Exception):
    """Push cannot be reached, or went away."""


class Bridges:
    """Opens bridges, and ends them all when the process stops."""

    def __init__(self, push_url: str, key: str) -> None:
        self._push_url = push_url
        self._key = key
        self._open: set[Bridge] = set()
        self.closing = False

    async def open(self, *, user_id: str, chat_id: str, after: frames.Cursor | None, expires: float) -> "Bridge":
        """Return a bridge whose socket to push is authenticated.

        Args:
            expires: When the reader's session ends (Unix seconds); the bridge ends with it.

        Raises:
            Unavailable: push does not answer, or this process is stopping.
            TooMany: the user has too many sockets.
        """
        if self.closing:
            raise Unavailable("This server is going away. Connect again.", retry_after=1)
        bridge = Bridge(self, user_id=user_id, chat_id=chat_id, after=after, expires=expires)
        try:
            await bridge.connect()
        except PushAway as error:
            log.warning("Push cannot be reached: %s", error)
            raise Unavailable("Live updates are not available at the moment. Try again soon.") from error
        except PushRefused as error:
            if error.code == frames.CloseCode.TOO_MANY:
                raise TooMany("There are too many open connections of this user.", retry_after=10) from error
            log.error("Push refuses the gateway (%s): have both the same SECRET_KEY?", error)
            raise Unavailable("Live updates are not available at the moment.", retry_after=30) from error
        self._open.add(bridge)
        STREAMS.inc()
        return bridge

    def close(self) -> None:
        """End all bridges, telling their readers to connect again."""
        self.closing = True
        for bridge in self._open:
            bridge.leave()

    async def dial(self, user_id: str) -> "ClientConnection":
        """Open and authenticate a socket to push.

        Raises:
            PushAway: nobody answers in time.
            PushRefused: it was closed with a code that says not to come back.
        """
        # Imported at the first stream: most gateways seldom open one.
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed, WebSocketException

        ticket, _ = issue(self._key, "ticket", user_id, _TICKET_SECONDS)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                socket = await connect(
                    self._push_url,
                    compression=None,
                    max_size=_MAX_FRAME,
                    # Frames wait in push, not here.
                    max_queue=1,
                    open_timeout=None,
                    close_timeout=1,
                    proxy=None,
                )
                try:
                    await socket.send(msgspec.json.encode(frames.Auth(ticket=ticket)).decode())
                    msgspec.json.decode(await socket.recv(), type=frames.Ready)
                except BaseException:
                    socket.transport.abort()
                    raise
        except ConnectionClosed as error:
            raise _closed(error) from error
        except (TimeoutError, OSError, WebSocketException, msgspec.DecodeError) as error:
            raise PushAway(repr(error)) from error
        return socket

    def forget(self, bridge: "Bridge") -> None:
        if bridge in self._open:
            self._open.remove(bridge)
            STREAMS.dec()


class Bridge:
    """One reader's stream."""

    def __init__(
        self, owner: Bridges, *, user_id: str, chat_id: str, after: frames.Cursor | None, expires: float
    ) -> None:
        self._owner = owner
        self._user_id = user_id
        self._chat_id = chat_id
        self._expires = expires
        self._follower = Follower(after)
        self._socket: ClientConnection | None = None
        self._leaving = asyncio.Event()

    async def connect(self) -> None:
        """Open the socket and ask for what the reader has not seen.

        Raises:
            PushAway: see :meth:`Bridges.dial`.
            PushRefused: likewise.
        """
        self._socket = await self._owner.dial(self._user_id)
        await self._watch()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the stream, event by event, until the chat is gone, the session ends or the process stops.

        The next frame is read only when the one before has been taken.
        """
        yield _PREAMBLE
        while time.time() < self._expires:
            try:
                frame = await self._next_frame()
                if frame is None:
                    yield _HEARTBEAT
                    continue
                verdict = self._follower.follow(frame)
                if verdict is Verdict.GAP:
                    await self._watch()
            except PushRefused as refused:
                yield _event(self._refusal(refused), None)
                return
            except PushAway as away:
                if not self._leaving.is_set():
                    log.info("A stream lost push: %s", away, extra={"chat_id": self._chat_id})
                if not await self._reconnect():
                    break
                continue
            if verdict is Verdict.NEW:
                STREAM_FRAMES.inc()
                yield _event(frame, self._follower.event_id)
            if self._follower.over:
                return
        yield _GOODBYE

    def leave(self) -> None:
        """Make :meth:`events` end at its next step."""
        self._leaving.set()
        if self._socket is not None:
            self._socket.transport.abort()

    async def close(self) -> None:
        """Give everything back. Called whatever happened."""
        self._owner.forget(self)
        await self._hang_up()

    async def _watch(self) -> None:
        from websockets.exceptions import ConnectionClosed

        assert self._socket is not None
        self._follower.watch_again()
        watch = frames.Watch(chat_id=self._chat_id, after=self._follower.cursor)
        try:
            await self._socket.send(msgspec.json.encode(watch).decode())
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def _next_frame(self) -> bytes | None:
        """Return the next frame, or None after a silence."""
        from websockets.exceptions import ConnectionClosed

        assert self._socket is not None
        try:
            async with asyncio.timeout(HEARTBEAT):
                return await self._socket.recv(decode=False)
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def _reconnect(self) -> bool:
        """Find another push and go on there. False: none in time, or it is time to leave."""
        await self._hang_up()
        ends = min(time.time() + _RECONNECT_SECONDS, self._expires)
        pause = _FIRST_PAUSE
        while time.time() < ends:
            # Full jitter: a push that drains sends many bridges away at once.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0, pause)):
                    await self._leaving.wait()
            if self._leaving.is_set():
                return False
            try:
                await self.connect()
            except (PushAway, PushRefused) as error:
                log.debug("Push again: %s", error)
                await self._hang_up()
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            STREAM_RECONNECTS.inc()
            return True
        return False

    async def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    def _refusal(self, refused: PushRefused) -> bytes:
        too_many = refused.code == frames.CloseCode.TOO_MANY
        log.warning("A stream was refused: %s", refused, extra={"chat_id": self._chat_id})
        return msgspec.json.encode(
            frames.Error(
                code="too_many" if too_many else "unavailable",
                message="There are too many open connections of this user."
                if too_many
                else "Live updates are not available at the moment.",
                chat_id=self._chat_id,
            )
        )


def _closed(error: "ConnectionClosed") -> PushAway | PushRefused:
    close = error.rcvd
    if close is not None and 4400 <= close.code < 4500:
        return PushRefused(close.code, close.reason)
    return PushAway(f"{close.code} {close.reason}".strip() if close is not None else "connection lost")


def _event(frame: bytes, event_id: str | None) -> bytes:
    # A frame is one line: JSON as msgspec writes it holds no line break.
    if event_id is None:
        return b"data: %b\n\n" % frame
    return b"id: %b\ndata: %b\n\n" % (event_id.encode(), frame)
