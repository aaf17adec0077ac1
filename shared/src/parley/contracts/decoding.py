"""Decoding what somebody else has sent."""

from typing import Any, Final

import msgspec

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What ``msgspec.json.decode`` raises for what is not JSON, not the struct, not UTF-8, or nested too deeply."""

MAX_NESTING: Final = 100
"""Levels of objects and arrays in JSON of a client that is passed on. How much decodes depends on what is around it."""


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
