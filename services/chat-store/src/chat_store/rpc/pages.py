"""Pages of messages, cut so that a reply fits into NATS' payload."""

from typing import Final

import msgspec

from chat_store.domain import cursors
from chat_store.domain.cursors import BeforeMessage
from chat_store.storage import messages
from chat_store.storage.rows import Connection
from parley.contracts import limits
from parley.contracts.resources import Message

_RESERVE: Final = 8 * 1024
"""Bytes of a reply that are neither messages nor the chat."""


async def newest(
    connection: Connection, chat_id: str, *, before: int | None, limit: int, used: int = 0
) -> tuple[list[Message], str | None]:
    """The newest messages older than position ``before``, oldest first, and the cursor to older ones.

    Args:
        used: Bytes of the reply that are used already.
    """
    budget = limits.MAX_REPLY_BYTES - _RESERVE - used
    found = await messages.list_messages(connection, chat_id, before=before, limit=limit, max_bytes=budget)
    page: list[Message] = []
    last = before
    for message, position in found:
        budget -= len(msgspec.json.encode(message)) + 1
        if budget < 0 and (page or used):
            break
        page.append(message)
        last = position
    more = last is not None and await messages.any_message_before(connection, chat_id, last)
    if last is None and found:
        # Not even one fits into the reply with the rest; it is the first of the next page.
        last, more = found[0][1] + 1, True
    return page[::-1], cursors.encode(BeforeMessage(last)) if more and last is not None else None


def fits(messages: list[Message], *, used: int) -> bool:
    """Whether the messages fit into a reply, as JSON."""
    return len(msgspec.json.encode(messages)) <= limits.MAX_REPLY_BYTES - _RESERVE - used
