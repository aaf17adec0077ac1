"""What text may hold."""

import re
import unicodedata
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

NUL: Final = b"\\u0000"
"""How JSON spells NUL, which Postgres' text cannot hold."""

_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")
_UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
_UNSEEN: Final = frozenset(
    {
        # Letters, marks and symbols that have no ink: Unicode's Default_Ignorable_Code_Point, and the blank of Braille.
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0000, 0xE1000),
    }
)


def is_blank(text: str) -> bool:
    """Whether there is nothing to see in ``text``."""
    return all(unicodedata.category(char) in _UNSEEN_CATEGORIES or ord(char) in _UNSEEN for char in text)


def is_storable(text: str) -> bool:
    """Whether Postgres' text holds this as it is: without NUL and halves of surrogate pairs, which JSON can spell."""
    return _NOT_STORABLE.search(text) is None


def storable(text: str) -> str:
    """Postgres' text cannot hold NUL, which JSON can spell; the replacement character stands for it."""
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def storable_json(value: T, kind: type[T]) -> T:
    """As :func:`storable`, for every text within ``value``, which is of the type ``kind``."""
    if NUL not in msgspec.json.encode(value):
        return value
    return msgspec.convert(_storable(msgspec.to_builtins(value)), kind)


def _storable(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {storable(key): _storable(item) for key, item in value.items()}
        case _:
            return value
