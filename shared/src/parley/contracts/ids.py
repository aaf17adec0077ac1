"""Identifiers: UUIDs as lower-case text; those that Parley makes are version 7, so they sort by time."""

import re
import secrets
import time
import uuid
from typing import Final

ID_PATTERN: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
_ID = re.compile(ID_PATTERN)


def new_id() -> str:
    """Return a new UUIDv7 (RFC 9562 §5.7, method 3): Unix time to a quarter of a microsecond, then randomness."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76
    value |= (nanoseconds * 4096 // 1_000_000) << 64
    value |= 0b10 << 62
    value |= secrets.randbits(62)
    return str(uuid.UUID(int=value))


def is_id(text: str) -> bool:
    """Whether ``text`` is a UUID in the one spelling that Parley accepts (lower case, with hyphens)."""
    return _ID.fullmatch(text) is not None
