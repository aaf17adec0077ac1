"""Changing chats: load, let the rules decide, write. What is to be published comes back."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

from msgspec.structs import replace

from chat_store.domain.conversation import Changes, Conversation
from chat_store.errors import Contended
from chat_store.storage import changes
from chat_store.storage.changes import Named
from chat_store.storage.rows import Connection

R = TypeVar("R")

MAX_TRIES: Final = 50
MAX_PAUSE: Final = 0.02
"""Seconds at most between two tries."""


@dataclass(frozen=True, kw_only=True)
class Command(Generic[R]):
    """Something to do to one chat.

    Attributes:
        run: Does it; may be called again, on what has changed meanwhile.
        messages, users: The ids that it names; what exists of them is loaded.
        defers: Whether prompts are queued, to be started by :mod:`chat_store.events.starter`.
        ends: Whether it may end the active generation; at most one such command per chat at a time.
    """

    chat_id: str
    run: Callable[[Conversation], R]
    messages: Sequence[str] = ()
    users: Sequence[str] = ()
    ends: bool = False
    defers: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[R]):
    """What commands came to, committed.

    Attributes:
        results: What each command returned, in their order; None where the chat does not exist.
        changes: One for each chat that changed: what to publish.
    """

    results: list[R | None]
    changes: list[Changes]


class Interrupted(Exception):
    """Some chats were written before ``error``; ``changes``: what to publish of them."""

    def __init__(self, changes: list[Changes], error: Exception) -> None:
        super().__init__(f"{len(changes)} chats were written before")
        self.changes = changes
        self.error = error


async def execute(connection: Connection, commands: Sequence[Command[R]]) -> Outcome[R]:
    """Run ``commands`` in their order; those for one chat are written together or not at all.

    A chat that somebody else changes in between is loaded and decided anew.

    Raises:
        StoreError: the rules refuse a command; nothing has been written.
        Contended: others change a chat all the time.
        Interrupted: some chats were written before one of these, or an error of Postgres.
    """
    written: list[Changes] = []
    try:
        return await _execute(connection, commands, written)
    except Exception as error:
        if written:
            raise Interrupted(written, error) from error
        raise


async def _execute(connection: Connection, commands: Sequence[Command[R]], written: list[Changes]) -> Outcome[R]:
    """As :func:`execute`; adds what is written to ``written``, also when it fails later."""
    results: list[R | None] = [None] * len(commands)
    pending = list(enumerate(commands))
    for _ in range(MAX_TRIES):
        made = await _decide(connection, pending, results)
        applied = await changes.apply(connection, list(made.values()), now=datetime.now(UTC)) if made else {}
        written.extend(replace(made[chat_id], members=members) for chat_id, members in applied.items())
        pending = [one for one in pending if one[1].chat_id in made and one[1].chat_id not in applied]
        if not pending:
            return Outcome(results=results, changes=written)
        await asyncio.sleep(random.uniform(0, MAX_PAUSE))
    raise Contended


async def _decide(
    connection: Connection, pending: Sequence[tuple[int, Command[R]]], results: list[R | None]
) -> dict[str, Changes]:
    """Load, let the rules decide, and return what is to be written, by chat."""
    states = await changes.load_states(
        connection,
        _named([command for _, command in pending]),
        with_queue=any(command.ends for _, command in pending),
    )
    now = datetime.now(UTC)
    conversations = {state.chat.id: Conversation(state, now=now) for state in states}
    for number, command in pending:
        if (conversation := conversations.get(command.chat_id)) is not None:
            conversation.defers = command.defers
            results[number] = command.run(conversation)
    return {
        chat_id: change
        for chat_id, conversation in conversations.items()
        if (change := conversation.changes()) is not None
    }


def _named(commands: Sequence[Command[Any]]) -> list[Named]:
    """What the commands name, by chat: each chat is searched for its own ids only."""
    messages: dict[str, set[str]] = {}
    users: dict[str, set[str]] = {}
    for command in commands:
        messages.setdefault(command.chat_id, set()).update(command.messages)
        users.setdefault(command.chat_id, set()).update(command.users)
    return [
        Named(chat_id=chat_id, messages=sorted(named), users=sorted(users[chat_id]))
        for chat_id, named in messages.items()
    ]
