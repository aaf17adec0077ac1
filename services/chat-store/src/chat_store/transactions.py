"""One transaction: lock the chats, load, let the rules decide, write. What is to be published comes back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from chat_store import repository
from chat_store.conversation import Changes, Conversation
from chat_store.repository import Connection

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Command(Generic[R]):
    """Something to do to one chat.

    Attributes:
        run: Does it. What it raises undoes the whole transaction.
        messages, users: The ids that it names; what exists of them is loaded.
        ends: Whether it may end the active generation; at most one such command per chat in a transaction.
    """

    chat_id: str
    run: Callable[[Conversation], R]
    messages: Sequence[str] = ()
    users: Sequence[str] = ()
    ends: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[R]):
    """What a transaction came to, committed.

    Attributes:
        results: What each command returned, in their order; None where the chat does not exist.
        missing: Chats that do not exist.
        changes: One for each chat that changed: what to publish.
    """

    results: list[R | None]
    missing: frozenset[str]
    changes: list[Changes]


async def execute(connection: Connection, commands: Sequence[Command[R]]) -> Outcome[R]:
    """Run ``commands`` in their order, in one transaction."""
    now = datetime.now(UTC)
    async with connection.transaction():
        states = await repository.load_states(
            connection,
            list({command.chat_id for command in commands}),
            message_ids=_unique(command.messages for command in commands),
            user_ids=_unique(command.users for command in commands),
            with_queue=any(command.ends for command in commands),
        )
        conversations = {state.chat.id: Conversation(state, now=now) for state in states}
        results: list[R | None] = []
        for command in commands:
            conversation = conversations.get(command.chat_id)
            results.append(None if conversation is None else command.run(conversation))
        changes = [change for conversation in conversations.values() if (change := conversation.changes()) is not None]
        if changes:
            await repository.apply(connection, changes, now=now)
    return Outcome(
        results=results,
        missing=frozenset(command.chat_id for command in commands if command.chat_id not in conversations),
        changes=changes,
    )


def _unique(groups: Any) -> list[str]:
    return list({item for group in groups for item in group})
