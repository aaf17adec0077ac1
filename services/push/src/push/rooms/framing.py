"""Websocket frames as bytes, built once for all the sockets that they go to.

A server's frames are not masked (RFC 6455 §5.1) and no extension is negotiated, so the same bytes serve every socket.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

import msgspec

from parley.contracts.frames import ServerFrame

__all__ = ["PING", "encode", "text_frame"]

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
