"""Starting queued prompts within the limit of running answers per user (``ANSWERS_PER_USER``).

With a limit no command starts a queued prompt by itself (``Command.defers``). After each change that ended an answer
or queued a prompt, and each second for what a crash left, the starter counts the user's running answers under a lock
that all processes share, and starts the user's oldest prompts that wait for nothing else.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from chat_store.domain import answers
from chat_store.domain.conversation import Changes, Conversation
from chat_store.storage import limits as counts
from chat_store.storage import transactions
from chat_store.storage.pool import Database
from chat_store.storage.transactions import Command

MAX_USERS: Final = 200
"""Users whose prompts are looked at in one round of the sweeper."""


class Starter:
    """Args: limit: Answers of one user at once; 0: no limit."""

    def __init__(self, database: Database, limit: int) -> None:
        self._database = database
        self._limit = limit

    @property
    def defers(self) -> bool:
        """Whether queued prompts are started here only."""
        return bool(self._limit)

    def users_of(self, changes: Sequence[Changes]) -> set[str]:
        """Return the users whose prompts may start after these changes."""
        if not self._limit:
            return set()
        ended = {one.user_id for change in changes for one in change.generations if one.ended_at is not None}
        deleted = {change.deleted_user for change in changes if change.deleted_user is not None}
        return ended | deleted | {change.waiting for change in changes if change.waiting is not None}

    async def start(self, user_id: str, announce: Callable[[Sequence[Changes]], Awaitable[None]]) -> None:
        """Start what the user's limit allows, the oldest first.

        Raises:
            Exception: Postgres is away.
        """
        async with self._database.connection() as connection, counts.locked(connection, user_id):
            while not self._limit or await counts.count_running(connection, user_id) < self._limit:
                chat_id = await counts.next_waiting(connection, user_id)
                if chat_id is None:
                    return
                outcome = await transactions.execute(connection, [_start_first_of(user_id, chat_id)])
                await announce(outcome.changes)
                if not outcome.changes:
                    return  # somebody else changed the chat; what waits then is found by the next round

    async def waiting(self) -> list[str]:
        """Return users with a prompt that waits for nothing but the limit."""
        async with self._database.connection() as connection:
            return await counts.users_waiting(connection, limit=MAX_USERS)


def _start_first_of(user_id: str, chat_id: str) -> Command[None]:
    """The command that starts a chat's first queued prompt, if that is still one of this user's."""

    def run(conversation: Conversation) -> None:
        first = conversation.next_queued
        if conversation.active is None and first is not None and first.author_id == user_id:
            answers.start_next(conversation)

    return Command(chat_id=chat_id, run=run, ends=True)
