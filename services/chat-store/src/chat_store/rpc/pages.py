"""Pages of lists; those of messages are cut so that a reply fits into NATS' payload."""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from chat_store.domain import cursors
from chat_store.domain.cursors import BeforeMessage
from chat_store.storage import messages
from chat_store.storage.messages import Listed
from chat_store.storage.rows import Connection
from parley.contracts import limits
from parley.contracts.completion import CompletionRequest
from parley.contracts.resources import Message

T = TypeVar("T")

MAX_BYTES: Final = limits.MAX_REPLY_BYTES - 8 * 1024
"""Bytes of the messages and the chat in a reply; the rest is for what it has besides."""


def cut(found: list[T], limit: int, place: Callable[[T], msgspec.Struct]) -> tuple[list[T], str | None]:
    """Return a page and the cursor of the next one; with a next one, more than ``limit`` items were found."""
    items = found[:limit]
    return items, cursors.encode(place(items[-1])) if len(found) > limit else None


class MessagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Messages, oldest first.

    Attributes:
        next: The cursor to older ones.
        completions: By the ids of prompts.
    """

    messages: list[Message]
    next: str | None
    completions: dict[str, CompletionRequest]


async def newest(
    connection: Connection,
    chat_id: str,
    *,
    before: int | None,
    limit: int,
    used: int = 0,
    completions: bool = False,
) -> MessagePage:
    """Return the newest messages older than position ``before``.

    Args:
        used: Bytes of the reply that are used already.
        completions: Include what prompts ask for in addition to text.
    """
    budget = MAX_BYTES - used
    found = await messages.list_messages(
        connection, chat_id, before=before, limit=limit, max_bytes=budget, completions=completions
    )
    page: list[Listed] = []
    last = before
    for listed in found:
        budget -= len(msgspec.json.encode(listed)) + len(listed.message.id)
        if budget < 0 and (page or used):
            break
        page.append(listed)
        last = listed.position
    more = last is not None and await messages.any_message_before(connection, chat_id, last)
    if last is None and found:
        # Not even one fits into the reply with the rest; it is the first of the next page.
        last, more = found[0].position + 1, True
    return MessagePage(
        messages=[listed.message for listed in reversed(page)],
        next=cursors.encode(BeforeMessage(last)) if more and last is not None else None,
        completions={listed.message.id: listed.completion for listed in page if listed.completion is not None},
    )


def fits(messages: list[Message], *, used: int) -> bool:
    """Whether the messages fit into a reply, as JSON."""
    return len(msgspec.json.encode(messages)) <= MAX_BYTES - used
