"""Opaque cursors: where a list goes on. A client gives back what it got, and reads nothing into it."""

import base64
import binascii
from typing import Annotated, TypeVar

import msgspec

from chat_store.errors import Invalid

T = TypeVar("T")


def encode(place: msgspec.Struct) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def decode(cursor: str, place_type: type[T]) -> T:
    """Raises: Invalid: not a cursor of this list."""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=place_type)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise Invalid("That is not a cursor of this list.") from error


class BeforeMessage(msgspec.Struct, frozen=True, array_like=True, tag="m", forbid_unknown_fields=True):
    """Messages older than this position."""

    position: int


class BeforeChat(msgspec.Struct, frozen=True, array_like=True, tag="c", forbid_unknown_fields=True):
    """Chats updated before this time (RFC 3339), or at it with a lower id."""

    updated_at: str
    id: str


class BeforeHit(msgspec.Struct, frozen=True, array_like=True, tag="s", forbid_unknown_fields=True):
    """Hits of a search that come after this one.

    Attributes:
        rank: How well it matches.
    """

    rank: Annotated[int, msgspec.Meta(ge=0, le=9)]
    created_at: str
    chat_id: str
    message_id: str
