"""Opaque cursors of lists: a client returns them unchanged to get the next page."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Self, TypeVar

import msgspec
from msgspec import Meta

from chat_store.errors import Invalid
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.ids import is_id

T = TypeVar("T")


def encode(place: msgspec.Struct) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def decode(cursor: str | None, place_type: type[T]) -> T | None:
    """Raises: Invalid: not a cursor of this list."""
    if cursor is None:
        return None
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=place_type)
    except (binascii.Error, ValueError, *UNDECODABLE) as error:
        raise Invalid("That is not a cursor of this list.") from error


class BeforeMessage(msgspec.Struct, frozen=True, array_like=True, tag="m", forbid_unknown_fields=True):
    """Messages older than this position."""

    position: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Before(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What has an earlier time, or the same one and a lower id."""

    time: datetime
    id: str

    @classmethod
    def first_page(cls) -> Self:
        """Return the cursor that everything comes after: a condition that may be left out could not use an index."""
        return cls(datetime(9998, 12, 31, tzinfo=UTC), "00000000-0000-7000-8000-000000000000")

    def __post_init__(self) -> None:
        _check_time(self.time)
        _check_ids(self.id)


class BeforeChat(_Before, frozen=True, tag="c"):
    """Chats, by the time of their last change."""


class BeforeKey(_Before, frozen=True, tag="k"):
    """API keys, by the time of their creation."""


class BeforeUser(_Before, frozen=True, tag="u"):
    """Users, by the time of their creation. The ids of an earlier version may be any text."""

    def __post_init__(self) -> None:
        _check_time(self.time)
        _check_text(self.id)


class BeforeHit(msgspec.Struct, frozen=True, array_like=True, tag="s", forbid_unknown_fields=True):
    """Hits of a search that come after this one.

    Attributes:
        rank: How well it matches.
    """

    rank: Annotated[int, Meta(ge=0, le=9)]
    created_at: datetime
    chat_id: str
    message_id: str

    def __post_init__(self) -> None:
        _check_time(self.created_at)
        _check_ids(self.chat_id, self.message_id)


class BeforeUsage(msgspec.Struct, frozen=True, array_like=True, tag="g", forbid_unknown_fields=True):
    """Sums of users after this one, or of this user and later models: they are in the order of the letters."""

    user_id: str
    model: str

    def __post_init__(self) -> None:
        _check_text(self.user_id + self.model)


def _check_time(time: datetime) -> None:
    """Raises: ValueError: without a time zone, or outside the range of Postgres and Python."""
    try:
        in_range = time.tzinfo is not None and 1970 <= time.astimezone(UTC).year < 9999
    except OverflowError:
        in_range = False
    if not in_range:
        raise ValueError("not a time")


def _check_ids(*ids: str) -> None:
    if not all(map(is_id, ids)):
        raise ValueError("not an id")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ValueError("not an id")
