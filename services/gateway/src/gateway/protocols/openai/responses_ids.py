"""The ids of responses, conversations and items: they encode the chat, the message and the position of the part."""

import base64
import contextlib
import re
import struct
import uuid
from typing import Final, Literal

from gateway.answers.reader import AnswerRef
from gateway.errors import NotFound
from parley.contracts.ids import is_id

ItemPrefix = Literal["msg", "rs", "fc", "fco", "mcp"]

_RESPONSE: Final = re.compile("resp_")
_CONVERSATION: Final = re.compile("conv_")
_ITEM: Final = re.compile("(?:msg|rs|fc|fco|mcp)_")
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
    """Return the answer that a response's id names. Raises: NotFound: it names nothing."""
    chat_id, answer_id = _decode("response", response, _RESPONSE, 2)
    return AnswerRef(chat_id=chat_id, message_id=answer_id)


def chat_of(conversation: str) -> str:
    """Return the chat that a conversation's id names. Raises: NotFound: it names nothing."""
    return _decode("conversation", conversation, _CONVERSATION, 1)[0]


def message_of(item: str) -> AnswerRef:
    """Return the message that an item's id names. Raises: NotFound: it names nothing."""
    chat_id, message_id = _decode("item", item, _ITEM, 2, extra=_PLACE.size)
    return AnswerRef(chat_id=chat_id, message_id=message_id)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(kind: str, text: str, prefix: re.Pattern[str], count: int, *, extra: int = 0) -> list[str]:
    """Return the UUIDs that ``text`` has behind its prefix, before ``extra`` bytes.

    Raises:
        NotFound: it is not an id of this kind.
    """
    if (found := prefix.match(text)) is not None:
        encoded = text[found.end() :]
        with contextlib.suppress(ValueError):
            data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
            ids = [str(uuid.UUID(bytes=data[at : at + 16])) for at in range(0, 16 * count, 16)]
            if len(data) == 16 * count + extra and all(map(is_id, ids)):
                return ids
    raise NotFound(f"There is no {kind} {text!r}.")
