"""A connection without its protocol: a write buffer with limits, a timer, the address that it is counted for."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from push.transport.server import Server

HIGH_WATER: Final = 64 * 1024
"""Bytes in a write buffer above which a connection is sent nothing until it is down to a quarter."""

PIECE: Final = 64 * 1024
"""Bytes that are handed to the transport at once: a longer frame is written as the peer takes it."""

_MAX_UNSENT: Final = 1000
"""Small frames (pongs, refusals) that wait for a long one; a peer that causes more and reads none is dropped."""


class Connection(asyncio.Protocol):
    """A connection with flow control.

    Attributes:
        address: Whom the connection is counted for; see :class:`push.transport.server.Server`.
    """

    __slots__ = ("_full", "_server", "_timer", "_transport", "_unsent", "address")

    _transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._timer: asyncio.TimerHandle | None = None
        # What waits until the transport takes more, in order; empty bytes: the end.
        self._unsent: deque[memoryview] = deque()
        self._full = False
        self.address: str | None = None

    @property
    def peer(self) -> str:
        """The address at the other end of the connection."""
        found = self._transport.get_extra_info("peername")
        return str(found[0]) if isinstance(found, tuple) else ""

    def take_over(self, other: "Connection") -> None:
        """Become the protocol of ``other``'s transport; ``other`` must not use it any more."""
        other._cancel_timer()
        self._transport = other._transport
        self.address = other.address
        self._transport.set_protocol(self)

    def write_long(self, data: bytes) -> None:
        """Send bytes of any length, in pieces as the peer takes them; the rest waits here, not copied."""
        if self._transport.is_closing():
            return  # uvloop's transports raise an error once they are closed
        if self._unsent or len(data) > PIECE or not data:
            self._unsent.append(memoryview(data))
            self._write_unsent()
        else:
            self._transport.write(data)
        if self._full and (
            len(self._unsent) > _MAX_UNSENT or self._transport.get_write_buffer_size() > HIGH_WATER + 4 * PIECE
        ):
            self.abort()

    def end_writing(self) -> None:
        """Half-close after the last write: a full close with unread input could destroy what the peer has not read."""
        self.write_long(b"")

    def abort(self) -> None:
        """Drop the connection."""
        self.leave()
        self._transport.abort()

    def close(self, code: int, reason: str = "") -> None:
        """End the connection as its protocol does; ``code`` is a websocket's close code."""
        raise NotImplementedError

    def leave(self) -> None:
        """Leave all rooms. Nothing is written by a room afterwards; without effect the second time."""
        raise NotImplementedError

    def paused(self) -> None:
        """Called when the write buffer is above its limit."""
        raise NotImplementedError

    def resumed(self) -> None:
        """Called when the write buffer is low again."""
        raise NotImplementedError

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER, HIGH_WATER // 4)

    def eof_received(self) -> None:
        # The transport closes when this returns.
        self.leave()

    def connection_lost(self, exc: Exception | None) -> None:
        self.leave()
        self._cancel_timer()
        self._unsent.clear()
        self._server.closed(self)

    def pause_writing(self) -> None:
        self._full = True
        self.paused()

    def resume_writing(self) -> None:
        self._full = False
        self._write_unsent()
        if not self._full:
            self.resumed()

    # --- for subclasses ----------------------------------------------------------------------------------------------

    def _write_unsent(self) -> None:
        while self._unsent and not self._full and not self._transport.is_closing():
            data = self._unsent.popleft()
            if len(data) > PIECE:
                self._unsent.appendleft(data[PIECE:])
                data = data[:PIECE]
            if data:
                self._transport.write(data)
            else:
                with contextlib.suppress(OSError, RuntimeError):
                    self._transport.write_eof()

    def _start_timer(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call ``callback`` after ``seconds``, in place of what the timer was set to before."""
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, callback)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
