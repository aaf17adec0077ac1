"""The erasure of users, in pieces that can be repeated. Runs on the leader (docs/decisions/0058).

The user's own chats are deleted. In the chats of others the membership ends, the user's prompts and the answers to them
are emptied, and handled events are purged from the streams. Then rejected prompts and dead letters are deleted, and
usage is anonymised. All of it is repeated later, for events that were in flight.
"""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec
import nats.js.errors
from nats.js.api import RawStreamMsg

from chat_store.domain import chats as chat_rules
from chat_store.domain import erasure as rules
from chat_store.events.context import EventContext
from chat_store.events.purge import again_at
from chat_store.storage import transactions
from chat_store.storage.administration import audit, erasure
from chat_store.storage.identity import users
from chat_store.storage.transactions import Command
from parley.contracts import ids
from parley.contracts.access.audit import SYSTEM
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.streams import DEAD_LETTERS

log = logging.getLogger(__name__)

R = TypeVar("R")

USERS: Final = 10
"""Users in one round."""
CHATS: Final = 20
"""Chats of one user in one piece."""
MESSAGES: Final = 100
"""Prompts of one chat in one piece."""
FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
PIECES: Final = 10
"""Pieces of one user in one round."""


class DeadLetter(msgspec.Struct, frozen=True):
    """The members of a dead letter's event that name a user or a message."""

    chat_id: str = ""
    message_id: str = ""
    user_id: str | None = None


class Eraser:
    """Erases the users who are due, and deletes old chats.

    Args:
        retention: How long after its last change a chat is deleted; None: never.
    """

    def __init__(self, context: EventContext, *, retention: timedelta | None) -> None:
        self._context = context
        self._retention = retention

    async def erase(self) -> None:
        """Continue every erasure that is due. One that fails stays due."""
        now = datetime.now(UTC)
        async with self._context.database.connection() as connection:
            due = await erasure.due(connection, now=now, limit=USERS)
        for user_id, requested_at in due:
            for _ in range(PIECES):
                if await self._piece(user_id):
                    break
            else:
                continue
            if not await self._finish(user_id):
                continue
            async with self._context.database.connection() as connection:
                await erasure.erased(connection, user_id, again_at=again_at(requested_at, now))
            log.info("Erased a user", extra={"user_id": user_id})

    async def _piece(self, user_id: str) -> bool:
        """Delete or empty some chats; return whether none is left for now."""
        async with self._context.database.connection() as connection:
            own = await erasure.own_chats(connection, user_id, limit=CHATS)
        for chat_id in own:
            await self.delete_chat(chat_id, reason="erasure")
        if own:
            return False
        async with self._context.database.connection() as connection:
            others = await erasure.chats_of_others(connection, user_id, limit=CHATS)
        emptied = [await self._empty(chat_id, user_id) for chat_id in others]
        # An answer that is being stopped is emptied in a later round.
        return not any(emptied)

    async def delete_chat(self, chat_id: str, *, reason: str) -> None:
        """Delete a chat with everything in it; its streams are purged like those of any deleted chat."""
        command = Command(chat_id=chat_id, run=chat_rules.delete)
        async with self._context.database.connection() as connection, connection.transaction():
            outcome = await transactions.execute(connection, [command])
            if outcome.changes:
                deleted = audit.event("chat_deleted", actor_id=SYSTEM, chat_id=chat_id, reason=reason)
                await audit.record(connection, deleted)
        await self._context.publisher.announce(outcome.changes)

    async def delete_old_chats(self) -> None:
        """Delete the chats that have not changed for as long as the retention."""
        if self._retention is None:
            return
        before = datetime.now(UTC) - self._retention
        after = FIRST_ID
        while True:
            async with self._context.database.connection() as connection:
                old = await erasure.old_chats(connection, before=before, after=after, limit=CHATS)
            for chat_id in old:
                await self.delete_chat(chat_id, reason="retention")
            if len(old) < CHATS:
                return
            after = old[-1]

    async def _empty(self, chat_id: str, user_id: str) -> bool:
        """Empty some of the user's messages; return whether there were any and all of them could be emptied."""
        async with self._context.database.connection() as connection:
            queued = await erasure.queued(connection, chat_id, user_id)
            await erasure.purge_streams_of(connection, chat_id, now=datetime.now(UTC))
        leave: Command[None] = Command(
            chat_id=chat_id,
            run=lambda conversation: rules.leave(conversation, user_id),
            messages=queued,
            users=[user_id],
        )
        await self._change(leave)
        async with self._context.database.connection() as connection:
            written = await erasure.written(connection, chat_id, user_id, limit=MESSAGES)
            await erasure.anonymise_generations(connection, chat_id, user_id)
        if not written:
            return bool(queued)
        return await self._change(Command(chat_id=chat_id, run=rules.empty, messages=written, ends=True)) or False

    async def _change(self, command: Command[R]) -> R | None:
        command = replace(command, defers=self._context.publisher.starter.defers)
        async with self._context.database.connection() as connection:
            outcome = await transactions.execute(connection, [command])
        await self._context.publisher.announce(outcome.changes)
        return outcome.results[0]

    async def _finish(self, user_id: str) -> bool:
        """Remove what belongs to no chat, once nothing is left in chats; return whether that is so."""
        async with self._context.database.connection() as connection, connection.transaction():
            if await erasure.chats_of_others(connection, user_id, limit=1):
                return False
            await erasure.anonymise_rest(connection, user_id, now=datetime.now(UTC))
        await self._drop_dead_letters(user_id)
        return True

    async def _drop_dead_letters(self, user_id: str) -> None:
        sequence = 0
        while True:
            try:
                found = await self._context.js.get_msg(DEAD_LETTERS.name, seq=sequence + 1, subject="dead.>", next=True)
            except nats.js.errors.NotFoundError:
                return
            if found.seq is None:
                raise AssertionError("a stored message without a sequence")
            sequence = found.seq
            if await self._is_of(found, user_id):
                await self._context.js.delete_msg(DEAD_LETTERS.name, sequence)

    async def _is_of(self, found: RawStreamMsg, user_id: str) -> bool:
        """Return whether a dead letter is a prompt of the user or an unknown one, or the end of an emptied answer."""
        try:
            letter = msgspec.json.decode(found.data or b"", type=DeadLetter)
        except UNDECODABLE:
            # Not an event, but it may name the user.
            return user_id.encode() in (found.data or b"")
        if letter.user_id is not None:
            async with self._context.database.connection() as connection:
                # The row of a guest who signed in as the user is gone.
                return letter.user_id == user_id or await users.get_user(connection, letter.user_id) is None
        if not ids.is_id(letter.chat_id) or not ids.is_id(letter.message_id):
            return False
        async with self._context.database.connection() as connection:
            return await erasure.is_emptied(connection, letter.chat_id, letter.message_id)
