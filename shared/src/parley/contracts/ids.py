"""Identifiers: UUIDs as lower-case text.

Those that Parley makes are version 7, so they sort by time; those that it derives from a name, such as an
``Idempotency-Key``, are version 8, which clients may not use for anything new.
"""

import hashlib
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


def derived_id(*names: str) -> str:
    """Return the id that stands for these names, a user's id among them (RFC 9562 §5.8)."""
    value = int.from_bytes(hashlib.sha256("\n".join(("parley", *names)).encode()).digest()[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return str(uuid.UUID(int=value))


def is_derived(identifier: str) -> bool:
    """Whether an id is one that :func:`derived_id` may return."""
    return identifier[14] == "8"


def is_id(text: str) -> bool:
    """Whether ``text`` is a UUID in the one spelling that Parley accepts (lower case, with hyphens)."""
    return _ID.fullmatch(text) is not None
