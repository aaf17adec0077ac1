"""The purge of deleted chats, and of chats with emptied messages, from the streams.

At once, and again later, for events that arrived afterwards: the end of the stopped answer, and prompts that a gateway
accepted by its cache of access (for at most an hour, ``docs/decisions/0012``). A prompt is purged after it was
processed, so that its author is notified that it was not stored.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from chat_store.events.context import EventContext
from chat_store.storage import chats, generations
from parley.contracts import subjects
from parley.contracts.streams import CHAT, CHAT_STORE_FINISHED, CHAT_STORE_PROMPTS, DEAD_LETTERS, SEGMENTS, ConsumerSpec

log = logging.getLogger(__name__)

AGAIN_AFTER: Final = (timedelta(seconds=30), timedelta(minutes=10), timedelta(hours=2))
"""Ages of a deletion at which the streams are purged once more."""

_BATCH: Final = 20


class Purger:
    """Purges ``CHAT``, ``SEGMENTS`` and ``DEAD_LETTERS`` by subject."""

    def __init__(self, context: EventContext) -> None:
        self._context = context

    async def purge(self) -> None:
        """Purge the chats that are due. One that fails stays due."""
        now = datetime.now(UTC)
        async with self._context.database.connection() as connection:
            deleted = await chats.to_purge(connection, now=now, limit=_BATCH)
            emptied = await chats.to_purge_handled(connection, now=now, limit=_BATCH)
        for chat_id, deleted_at in deleted:
            await self._purge_chat(chat_id)
            async with self._context.database.connection() as connection:
                await chats.purged(connection, chat_id, again_at=again_at(deleted_at, now))
            log.debug("Purged the streams of a deleted chat", extra={"chat_id": chat_id})
        for chat_id, emptied_at in emptied:
            await self._purge_handled(chat_id)
            async with self._context.database.connection() as connection:
                await chats.purged_handled(connection, chat_id, emptied_at, again_at=again_at(emptied_at, now))

    async def _purge_chat(self, chat_id: str) -> None:
        await self._purge_up_to(CHAT_STORE_PROMPTS, subjects.prompt_submitted(chat_id))
        await self._context.js.purge_stream(CHAT.name, subject=subjects.generations_of_chat(chat_id))
        await self._context.js.purge_stream(SEGMENTS.name, subject=subjects.generations_of_chat(chat_id))
        await self._context.js.purge_stream(DEAD_LETTERS.name, subject=subjects.dead_letters_of_chat(chat_id))

    async def _purge_handled(self, chat_id: str) -> None:
        """Purge the prompts and answers of a chat that are stored. The chat stays in use."""
        await self._purge_up_to(CHAT_STORE_PROMPTS, subjects.prompt_submitted(chat_id))
        await self._purge_up_to(CHAT_STORE_FINISHED, subjects.generation_finished(chat_id))
        async with self._context.database.connection() as connection:
            active = await generations.get_active(connection, chat_id)
        # The running answer may need its segments.
        if active is None:
            await self._context.js.purge_stream(SEGMENTS.name, subject=subjects.generation_segment(chat_id))

    async def _purge_up_to(self, consumer: ConsumerSpec, subject: str) -> None:
        """Purge the messages of a subject that the consumer has acknowledged."""
        floor = (await self._context.js.consumer_info(consumer.stream, consumer.name)).ack_floor
        if floor is not None and floor.stream_seq:
            await self._context.js.purge_stream(consumer.stream, seq=floor.stream_seq + 1, subject=subject)


def again_at(requested_at: datetime, now: datetime) -> datetime | None:
    """Return when to repeat what was requested at ``requested_at``; None: not again."""
    return next((requested_at + age for age in AGAIN_AFTER if requested_at + age > now), None)
