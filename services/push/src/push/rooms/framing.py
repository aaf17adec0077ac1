"""Frames as the bytes of each transport, built once for all the readers that they go to.

A server's websocket frames are not masked (RFC 6455 §5.1) and no extension is negotiated, so the same bytes serve every
socket. An event's ``id`` is the cursor of a reader who has the event, so it is shared, too.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

import msgspec

from parley.contracts.frames import Cursor, ServerFrame

_TEXT: Final = 0x81  # FIN, opcode 1
_LENGTH_16: Final = Struct("!BBH")
_LENGTH_64: Final = Struct("!BBQ")

PING: Final = b"\x89\x00"
"""A ping without payload."""

_encoder = msgspec.json.Encoder()


def text_frame(payload: bytes) -> bytes:
    """Return the unfragmented text frame (RFC 6455 §5.2) that carries ``payload``."""
    length = len(payload)
    if length < 126:
        return bytes((_TEXT, length)) + payload
    if length < 1 << 16:
        return _LENGTH_16.pack(_TEXT, 126, length) + payload
    return _LENGTH_64.pack(_TEXT, 127, length) + payload


def encode(frame: ServerFrame) -> bytes:
    """Return the websocket frame that carries ``frame``."""
    return text_frame(_encoder.encode(frame))


class Frames:
    """Frames that are written together, encoded at most once for each transport.

    Args:
        items: For each frame its JSON and the cursor of a reader who has it; None: it does not move the reader.
    """

    __slots__ = ("_events", "_items", "_websocket")

    def __init__(self, items: Sequence[tuple[bytes, Cursor | None]]) -> None:
        self._items = items
        self._websocket: bytes | None = None
        self._events: bytes | None = None

    @classmethod
    def of(cls, *items: tuple[ServerFrame, Cursor | None]) -> "Frames":
        return cls([(_encoder.encode(frame), cursor) for frame, cursor in items])

    def __len__(self) -> int:
        """Bytes of JSON."""
        return sum(len(payload) for payload, _ in self._items)

    @property
    def websocket(self) -> bytes:
        """The frames as websocket frames."""
        if self._websocket is None:
            self._websocket = b"".join([text_frame(payload) for payload, _ in self._items])
        return self._websocket

    @property
    def events(self) -> bytes:
        """The frames as server-sent events."""
        if self._events is None:
            self._events = b"".join([_event(payload, cursor) for payload, cursor in self._items])
        return self._events


def _event(payload: bytes, cursor: Cursor | None) -> bytes:
    # One line: JSON as msgspec writes it holds no line break.
    if cursor is None:
        return b"data: %b\n\n" % payload
    return b"id: %b\ndata: %b\n\n" % (_encoder.encode(cursor), payload)
