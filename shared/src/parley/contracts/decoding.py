"""Limits and errors of decoding JSON that others send."""

from typing import Any, Final

import msgspec

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What ``msgspec.json.decode`` raises for what is not JSON, not the struct, not UTF-8, or nested too deeply."""

MAX_NESTING: Final = 100
"""Levels of objects and arrays in JSON that a client sends and Parley passes on: within other JSON it still decodes."""


def nests_too_deeply(value: Any) -> bool:
    """Whether decoded JSON has more than :data:`MAX_NESTING` levels."""
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
        ]
        if not level:
            return False
    return True
