"""Searches, with connections of their own, and limits of time and for each user."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, Literal

import asyncpg
import msgspec
from nats.aio.msg import Msg

from chat_store.domain.cursors import BeforeHit
from chat_store.domain.search import AROUND, SearchQuery
from chat_store.errors import SearchCancelled, SearchesBusy, SearchTooSlow, StoreError, TooManySearches
from chat_store.storage.pool import Database
from chat_store.storage.rows import Connection

log = logging.getLogger(__name__)

MAX_OF_USER = 4
"""Searches of one user in one process: one runs, the others wait for it."""

_ID = 2
"""Where the id stands in ``ctl.search.<id>.cancel``."""

_BOUNDS = "SET LOCAL statement_timeout = {milliseconds}; SET LOCAL plan_cache_mode = force_custom_plan"
"""The plan depends on what is asked for: an index helps with a rare word only."""


# $2 is what was asked for, $3 its words (each has to occur), $4 the longest of them, which an index may look up. What
# holds all of $2 as it stands comes first, and of that, what holds it as a word of its own, and as it is spelt.
SEARCH: Final = """
SELECT hit.chat_id::text, c.title AS chat_title, hit.id::text AS message_id, hit.role, hit.rank, hit.created_at,
    substr(hit.content, greatest(1, coalesce(
        nullif(strpos(hit.content, $2), 0),
        nullif(strpos(upper(hit.content), upper($2)), 0),
        -- Folding changes lengths: about where it is.
        (coalesce(nullif(strpos(hit.folded, hit.phrase), 0), strpos(hit.folded, hit.word))::real
            * length(hit.content) / greatest(1, length(hit.folded)))::int
    ) - $10), 2 * $10) AS around
FROM (
    SELECT m.chat_id, m.id, m.role, m.content, m.folded, m.created_at, asked.phrase, asked.words[1] AS word,
        CASE
            WHEN strpos(m.folded, asked.phrase) = 0 THEN 0
            ELSE 1 + (strpos(m.content, $2) > 0)::int + 2 * search_stands_alone(m.folded, asked.phrase)::int
        END AS rank
    FROM (
        SELECT search_fold($2) AS phrase, array(SELECT search_fold(word) FROM unnest($3::text[]) AS word) AS words
    ) asked, members JOIN messages m ON m.chat_id = members.chat_id
    WHERE members.user_id = $1 AND m.folded LIKE
        '%' || replace(replace(replace(search_fold($4), '\\', '\\\\'), '%', '\\%'), '_', '\\_') || '%'
    AND NOT EXISTS (SELECT FROM unnest(asked.words) AS word WHERE strpos(m.folded, word) = 0)
) hit JOIN chats c ON c.id = hit.chat_id
WHERE $5::int IS NULL OR (hit.rank, hit.created_at, hit.chat_id, hit.id)
    < ($5, $6::timestamptz, $7::uuid, $8::uuid)
ORDER BY hit.rank DESC, hit.created_at DESC, hit.chat_id DESC, hit.id DESC LIMIT $9
"""


class SearchRow(msgspec.Struct, frozen=True, kw_only=True):
    chat_id: str
    chat_title: str | None
    message_id: str
    role: Literal["user", "assistant"]
    rank: int
    created_at: datetime
    around: str


class Searches:
    """Runs searches.

    Args:
        database: Used by nothing else; its timeout of a command is ``seconds``.
        size: Searches at once: the connections of ``database``.
        seconds: What one search may take in Postgres, and how long it may wait for its turn.
    """

    def __init__(self, database: Database, *, size: int, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._slots = asyncio.Semaphore(size)
        self._of_user: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Lock] = {}
        self._tasks: dict[str, asyncio.Task[list[SearchRow]]] = {}

    async def run(
        self, user_id: str, query: SearchQuery, *, search_id: str | None, before: BeforeHit | None, limit: int
    ) -> list[SearchRow]:
        """Return the matches, the best first.

        Raises:
            TooManySearches: the user has others running.
            SearchesBusy: those of other users take all connections.
            SearchTooSlow: Postgres needed more than ``seconds``.
            SearchCancelled: the caller has cancelled the search.
        """
        task = asyncio.create_task(self._run(user_id, query, before, limit))
        if search_id is not None:
            self._tasks[search_id] = task
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            raise SearchCancelled from None
        finally:
            if search_id is not None:
                self._tasks.pop(search_id, None)

    async def on_cancel(self, message: Msg) -> None:
        """End the search that ``ctl.search.<id>.cancel`` names, if it is one of ours, and its statement."""
        task = self._tasks.get(message.subject.split(".")[_ID])
        if task is not None:
            task.cancel()

    async def _run(self, user_id: str, query: SearchQuery, before: BeforeHit | None, limit: int) -> list[SearchRow]:
        async with (
            self._turn(user_id),
            self._held(self._slots, SearchesBusy),
            self._database.connection() as connection,
        ):
            try:
                async with connection.transaction(readonly=True):
                    # Besides the connection's own timeout: a cancellation can be lost on its way.
                    await connection.execute(_BOUNDS.format(milliseconds=int(self._seconds * 1000)))
                    return await search(connection, user_id, query, before=before, limit=limit)
            except (TimeoutError, asyncpg.QueryCanceledError):
                log.info("A search took longer than %g s", self._seconds)
                raise SearchTooSlow(self._seconds) from None

    @asynccontextmanager
    async def _turn(self, user_id: str) -> AsyncIterator[None]:
        """Let one search of a user run at a time."""
        if self._of_user[user_id] >= MAX_OF_USER:
            raise TooManySearches
        self._of_user[user_id] += 1
        turn = self._turns.setdefault(user_id, asyncio.Lock())
        try:
            async with self._held(turn, TooManySearches):
                yield
        finally:
            self._of_user[user_id] -= 1
            if self._of_user[user_id] == 0:
                del self._of_user[user_id], self._turns[user_id]

    @asynccontextmanager
    async def _held(self, lock: asyncio.Lock | asyncio.Semaphore, late: type[StoreError]) -> AsyncIterator[None]:
        """Hold ``lock``, or raise ``late`` when it is not free within ``seconds``."""
        try:
            async with asyncio.timeout(self._seconds):
                await lock.acquire()
        except TimeoutError:
            raise late from None
        try:
            yield
        finally:
            lock.release()


async def search(
    connection: Connection, user_id: str, query: SearchQuery, *, before: BeforeHit | None, limit: int
) -> list[SearchRow]:
    """Return the messages that hold every word of ``query``, the best match first."""
    place: tuple[int | None, datetime | None, str | None, str | None] = (None, None, None, None)
    if before is not None:
        place = (before.rank, before.created_at, before.chat_id, before.message_id)
    rows = await connection.fetch(SEARCH, user_id, query.phrase, query.words, query.words[0], *place, limit, AROUND)
    return [SearchRow(**row) for row in rows]
