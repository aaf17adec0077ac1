"""What the streams still hold of a deleted chat is removed from them.

At once, and again later, for what came afterwards: the end of the answer that was stopped, and prompts that a gateway
accepted on what it remembered of the chat (an hour at most, ``docs/decisions/0012``). A prompt is removed once it has
been processed, so that its author learns that it was not stored.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from nats.js import JetStreamContext

from chat_store.storage import chats
from chat_store.storage.pool import Database
from parley.contracts import subjects
from parley.contracts.streams import CHAT, CHAT_STORE_PROMPTS, DEAD_LETTERS, SEGMENTS

log = logging.getLogger(__name__)

AGAIN_AFTER: Final = (timedelta(seconds=30), timedelta(minutes=10), timedelta(hours=2))
"""Ages of a deletion at which the streams are purged once more."""

_BATCH: Final = 20


class Purger:
    """Purges ``CHAT``, ``SEGMENTS`` and ``DEAD_LETTERS`` by subject."""

    def __init__(self, js: JetStreamContext, database: Database) -> None:
        self._js = js
        self._database = database

    async def purge(self) -> None:
        """Purge what is due. What fails is due again."""
        now = datetime.now(UTC)
        async with self._database.connection() as connection:
            due = await chats.to_purge(connection, now=now, limit=_BATCH)
        for chat_id, deleted_at in due:
            await self._purge_chat(chat_id)
            again_at = next((deleted_at + age for age in AGAIN_AFTER if deleted_at + age > now), None)
            async with self._database.connection() as connection:
                await chats.purged(connection, chat_id, again_at=again_at)
            log.debug("Purged the streams of a deleted chat", extra={"chat_id": chat_id})

    async def _purge_chat(self, chat_id: str) -> None:
        floor = (await self._js.consumer_info(CHAT.name, CHAT_STORE_PROMPTS.name)).ack_floor
        if floor is not None and floor.stream_seq:
            await self._js.purge_stream(CHAT.name, seq=floor.stream_seq + 1, subject=subjects.prompt_submitted(chat_id))
        await self._js.purge_stream(CHAT.name, subject=subjects.generations_of_chat(chat_id))
        await self._js.purge_stream(SEGMENTS.name, subject=subjects.generations_of_chat(chat_id))
        await self._js.purge_stream(DEAD_LETTERS.name, subject=subjects.dead_letters_of_chat(chat_id))
