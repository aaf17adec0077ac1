"""One replica at a time takes prompts in and sweeps: the one whose database session holds the lock.

Prompts of a chat must be stored in the order in which they were accepted, and two replicas that each hold a part of the
stream cannot know that. So one takes them all in, in batches. It writes with the very session that holds the lock: who
has lost the lock cannot write any more (a fence, not a hope).

A leader that is paused keeps its session, so Postgres itself ends a session that is idle for too long; the leader shows
that it is alive each second.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from chat_store import metrics
from chat_store.errors import Unavailable, describe, is_outage
from chat_store.storage import transactions
from chat_store.storage.pool import Database
from chat_store.storage.transactions import Command, Outcome
from parley.runtime.readiness import Trouble

log = logging.getLogger(__name__)

LOCK_KEY: Final = 0x6C6561646572  # "leader"
IDLE_LIMIT: Final = 5.0
"""Seconds of silence after which Postgres ends the leader's session."""
POLL: Final = 0.5
"""Seconds between two tries to become the leader."""

_SETTINGS: Final = {
    "idle_session_timeout": f"{IDLE_LIMIT:g}s",
    "idle_in_transaction_session_timeout": f"{IDLE_LIMIT:g}s",
}


class Leader:
    """Being the leader: the session, and the right to write with it."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    async def execute(self, commands: Sequence[Command[Any]]) -> Outcome[Any]:
        """Run commands with the leader's session. Raises: Exception: it is lost (:func:`is_outage`)."""
        async with self._turn:
            return await transactions.execute(self._connection, commands)

    async def hold(self) -> None:
        """Keep the session alive; returns never. Raises: Unavailable: it is lost."""
        while True:
            await asyncio.sleep(IDLE_LIMIT / 5)
            async with self._turn:
                if self._connection.is_closed():
                    raise Unavailable
                await self._connection.execute("SELECT 1")


@asynccontextmanager
async def lead(database: Database) -> AsyncIterator[Leader]:
    """Wait until this process is the leader, be it, and give it up at the end."""
    connection = await _acquire(database)
    metrics.LEADER.set(1)
    try:
        yield Leader(connection)
    finally:
        metrics.LEADER.set(0)
        # Closing ends the session and so frees the lock; nobody waits for a server that does not answer.
        with contextlib.suppress(Exception):
            await asyncio.wait_for(connection.close(), 2)
        connection.terminate()


async def _acquire(database: Database) -> "asyncpg.Connection[asyncpg.Record]":
    connection: asyncpg.Connection[asyncpg.Record] | None = None
    trouble = Trouble(log, "Waiting for the lock of the leader again")
    try:
        while True:
            try:
                if connection is None or connection.is_closed():
                    connection = await database.connect_alone(**_SETTINGS)
                is_held = await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY)
                trouble.end()
                if is_held:
                    held, connection = connection, None
                    return held
            except Exception as error:
                if connection is not None and not is_outage(error):
                    raise
                # Without a connection it is an outage, whatever Postgres calls it.
                trouble.note(f"Cannot become the one that takes prompts in: {describe(error)}")
            await asyncio.sleep(POLL)
    finally:
        if connection is not None:
            connection.terminate()
