"""The ids of responses, conversations and items: they encode the chat, the message and the position of the part."""

import base64
import binascii
import re
import struct
import uuid
from typing import Final, Literal

from gateway.answers.reader import AnswerRef
from gateway.errors import NotFound
from parley.contracts.ids import is_id

ItemPrefix = Literal["msg", "rs", "fc", "fco", "mcp"]

_ITEM_PREFIX: Final = re.compile(r"(?:msg|rs|fc|fco|mcp)_")
_PLACE: Final = struct.Struct(">II")
"""The attempt and the index of an item."""


def response_id(chat_id: str, answer_id: str) -> str:
    return f"resp_{_encode(uuid.UUID(chat_id).bytes + uuid.UUID(answer_id).bytes)}"


def conversation_id(chat_id: str) -> str:
    return f"conv_{_encode(uuid.UUID(chat_id).bytes)}"


def item_id(prefix: ItemPrefix, message: AnswerRef, attempt: int, index: int) -> str:
    """Return the id of an item.

    Args:
        message: The prompt, or the answer.
        attempt: Of an answer; 0 for input.
        index: Of the part within the attempt, or of the item within the input.
    """
    ids = uuid.UUID(message.chat_id).bytes + uuid.UUID(message.message_id).bytes
    return f"{prefix}_{_encode(ids + _PLACE.pack(attempt, index))}"


def answer_of(response: str) -> AnswerRef:
    """Return the answer that a response's id names.

    Raises:
        NotFound: the id names nothing.
    """
    ids = _decode(response, "resp_", 2)
    if ids is None:
        raise NotFound(f"There is no response {response!r}.")
    return AnswerRef(chat_id=ids[0], message_id=ids[1])


def chat_of(conversation: str) -> str:
    """Return the chat that a conversation's id names.

    Raises:
        NotFound: the id names nothing.
    """
    ids = _decode(conversation, "conv_", 1)
    if ids is None:
        raise NotFound(f"There is no conversation {conversation!r}.")
    return ids[0]


def message_of(item: str) -> AnswerRef:
    """Return the message that an item's id names.

    Raises:
        NotFound: the id names nothing.
    """
    prefix = _ITEM_PREFIX.match(item)
    ids = _decode(item, prefix[0], 2, extra=_PLACE.size) if prefix else None
    if ids is None:
        raise NotFound(f"There is no item {item!r}.")
    return AnswerRef(chat_id=ids[0], message_id=ids[1])


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str, prefix: str, count: int, *, extra: int = 0) -> list[str] | None:
    """Return the UUIDs that ``text`` has behind its prefix, before ``extra`` bytes; None: it is not of this kind."""
    if not text.startswith(prefix):
        return None
    encoded = text.removeprefix(prefix)
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(data) != 16 * count + extra:
        return None
    ids = [str(uuid.UUID(bytes=data[at : at + 16])) for at in range(0, 16 * count, 16)]
    return ids if all(map(is_id, ids)) else None
