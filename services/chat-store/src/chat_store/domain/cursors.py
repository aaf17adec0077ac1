"""Opaque cursors of lists: a client returns them unchanged to get the next page."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from chat_store.errors import Invalid
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.ids import is_id

T = TypeVar("T")


def encode(place: msgspec.Struct) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def decode(cursor: str, place_type: type[T]) -> T:
    """Raises: Invalid: not a cursor of this list."""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=place_type)
    except (binascii.Error, ValueError, *UNDECODABLE) as error:
        raise Invalid("That is not a cursor of this list.") from error


class BeforeMessage(msgspec.Struct, frozen=True, array_like=True, tag="m", forbid_unknown_fields=True):
    """Messages older than this position."""

    position: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class BeforeChat(msgspec.Struct, frozen=True, array_like=True, tag="c", forbid_unknown_fields=True):
    """Chats updated before this time (RFC 3339), or at it with a lower id."""

    updated_at: str
    id: str

    def __post_init__(self) -> None:
        _check_time(self.updated_at)
        _check_ids(self.id)


class BeforeHit(msgspec.Struct, frozen=True, array_like=True, tag="s", forbid_unknown_fields=True):
    """Hits of a search that come after this one.

    Attributes:
        rank: How well it matches.
    """

    rank: Annotated[int, Meta(ge=0, le=9)]
    created_at: str
    chat_id: str
    message_id: str

    def __post_init__(self) -> None:
        _check_time(self.created_at)
        _check_ids(self.chat_id, self.message_id)


class BeforeUser(msgspec.Struct, frozen=True, array_like=True, tag="u", forbid_unknown_fields=True):
    """Users created before this time, or at it with a lower id."""

    created_at: str
    id: str

    def __post_init__(self) -> None:
        _check_time(self.created_at)
        if "\x00" in self.id:
            raise ValueError("not an id")


class BeforeKey(msgspec.Struct, frozen=True, array_like=True, tag="k", forbid_unknown_fields=True):
    """API keys created before this time, or at it with a lower id."""

    created_at: str
    id: str

    def __post_init__(self) -> None:
        _check_time(self.created_at)
        _check_ids(self.id)


class BeforeUsage(msgspec.Struct, frozen=True, array_like=True, tag="g", forbid_unknown_fields=True):
    """Sums of users after this one, or of this user and later models: they are in the order of the letters."""

    user_id: str
    model: str

    def __post_init__(self) -> None:
        if "\x00" in self.user_id + self.model:
            raise ValueError("not an id")


def _check_time(text: str) -> None:
    """Raises: ValueError: not in the format of cursors, or outside the range of Postgres and Python."""
    try:
        time = msgspec.convert(text, datetime)
        in_range = time.tzinfo is not None and 1970 <= time.astimezone(UTC).year < 9999
    except OverflowError:
        in_range = False
    if not in_range:
        raise ValueError("not a time")


def _check_ids(*ids: str) -> None:
    if not all(map(is_id, ids)):
        raise ValueError("not an id")
