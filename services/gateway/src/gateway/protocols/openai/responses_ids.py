"""The ids of responses, conversations and their items: each names the chat, the message and the part that it shows."""

import base64
import binascii
import re
import uuid
from typing import Final, Literal

from gateway.answers.reader import AnswerRef
from gateway.errors import NotFound
from parley.contracts.ids import is_id

ItemPrefix = Literal["msg", "rs", "fc", "fco", "mcp"]

_ITEM: Final = re.compile(r"(?:msg|rs|fc|fco|mcp)_([0-9a-f]{32})([0-9a-f]{4})([0-9a-f]{4})")


def response_id(chat_id: str, answer_id: str) -> str:
    return f"resp_{_encode(uuid.UUID(chat_id).bytes + uuid.UUID(answer_id).bytes)}"


def conversation_id(chat_id: str) -> str:
    return f"conv_{_encode(uuid.UUID(chat_id).bytes)}"


def item_id(prefix: ItemPrefix, message_id: str, attempt: int, index: int) -> str:
    """Return the id of an item.

    Args:
        message_id: The prompt's, or the answer's.
        attempt: Of an answer; 0 for input.
        index: Of the part within the attempt, or of the item within the input.
    """
    return f"{prefix}_{uuid.UUID(message_id).hex}{attempt:04x}{index:04x}"


def answer_of(response: str) -> AnswerRef:
    """Return the answer that a response's id names.

    Raises:
        NotFound: the id names nothing.
    """
    chat_id, answer_id = _decode(response, "resp_", 2) or ("", "")
    if not answer_id:
        raise NotFound(f"There is no response {response!r}.")
    return AnswerRef(chat_id=chat_id, message_id=answer_id)


def chat_of(conversation: str) -> str:
    """Return the chat that a conversation's id names.

    Raises:
        NotFound: the id names nothing.
    """
    ids = _decode(conversation, "conv_", 1)
    if ids is None:
        raise NotFound(f"There is no conversation {conversation!r}.")
    return ids[0]


def message_of(item: str) -> str:
    """Return the message that an item's id names.

    Raises:
        NotFound: the id names nothing.
    """
    found = _ITEM.fullmatch(item)
    message_id = str(uuid.UUID(hex=found[1])) if found else ""
    if not is_id(message_id):
        raise NotFound(f"There is no item {item!r}.")
    return message_id


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str, prefix: str, count: int) -> list[str] | None:
    """Return the UUIDs that ``text`` has behind its prefix; None: it is not of this kind."""
    if not text.startswith(prefix):
        return None
    encoded = text.removeprefix(prefix)
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(data) != 16 * count:
        return None
    ids = [str(uuid.UUID(bytes=data[at : at + 16])) for at in range(0, len(data), 16)]
    return ids if all(map(is_id, ids)) else None
