"""One replica at a time consumes prompts and sweeps: the one whose database session has the advisory lock.

Prompts of a chat must be stored in the order in which they were accepted, and two replicas that each consume a part of
the stream cannot know it. So one consumes them all, in batches. It writes with the session that has the lock, so a
replica that has lost the lock cannot write (``docs/decisions/0016``).

A leader that is paused keeps its session, so Postgres ends a session that is idle for too long; the leader sends a
heartbeat each second.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from chat_store import metrics
from chat_store.errors import Unavailable, describe, is_outage
from chat_store.storage import transactions
from chat_store.storage.pool import Database
from chat_store.storage.transactions import Command, Outcome
from parley.runtime.backoff import Backoff
from parley.runtime.readiness import OutageLog

log = logging.getLogger(__name__)

LOCK_KEY: Final = 0x6C6561646572  # "leader"
IDLE_LIMIT: Final = 5.0
"""Seconds without a statement after which Postgres ends the leader's session."""
POLL: Final = 0.5
"""Seconds between two attempts to become the leader."""

_STABLE_AFTER: Final = 1.0
"""Seconds of leading after which the failure before is over."""
_REPEAT_AFTER: Final = 10.0
"""Seconds after which the same failure is logged again."""

_SETTINGS: Final = {
    "idle_session_timeout": f"{IDLE_LIMIT:g}s",
    "idle_in_transaction_session_timeout": f"{IDLE_LIMIT:g}s",
}


class Leader:
    """The session with the lock, and the right to write with it."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._lock = asyncio.Lock()

    async def execute(self, commands: Sequence[Command[Any]]) -> Outcome[Any]:
        """Run commands with the leader's session. Raises: Exception: it is lost (:func:`is_outage`)."""
        async with self._lock:
            return await transactions.execute(self._connection, commands)

    async def heartbeat(self) -> None:
        """Keep the session alive until cancelled. Raises: Unavailable: it is lost."""
        while True:
            await asyncio.sleep(IDLE_LIMIT / 5)
            async with self._lock:
                if self._connection.is_closed():
                    raise Unavailable
                await self._connection.execute("SELECT 1")


Work = Callable[[Leader], Coroutine[Any, Any, None]]


async def lead_whenever_possible(database: Database, *work: Work) -> None:
    """Do the leader's ``work`` whenever this process is the leader, until cancelled."""
    failures = _FailureLog()
    while True:
        async with lead(database) as leader:
            failures.log_start()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(leader.heartbeat())
                    group.create_task(failures.end_when_stable())
                    for start in work:
                        group.create_task(start(leader))
            except* Exception as failed:
                failures.add(list(_leaves(failed)))
        # Another replica gets its chance, in case the cause is this one.
        await asyncio.sleep(failures.backoff.next_delay())


class _FailureLog:
    """What ended the leadership, logged once and not with every attempt; and the backoff between the attempts."""

    def __init__(self) -> None:
        self.backoff = Backoff(0.25, 4.0)
        self._logged = ""
        self._logged_at = 0.0

    def log_start(self) -> None:
        if not self._logged:
            log.info("Consuming prompts")

    def add(self, errors: list[BaseException]) -> None:
        """The leadership has ended with ``errors``."""
        if not self._logged:
            self.backoff.reset()
        cause = errors[0]
        expected = all(is_outage(error) for error in errors)
        level = logging.WARNING if expected else logging.ERROR
        now = time.monotonic()
        if repr(cause) == self._logged and now - self._logged_at < _REPEAT_AFTER:
            level = logging.DEBUG
        else:
            self._logged, self._logged_at = repr(cause), now
        log.log(
            level,
            "No longer consuming prompts: %s",
            describe(cause) if expected else repr(cause),
            exc_info=None if expected else cause,
        )

    async def end_when_stable(self) -> None:
        """Forget the failure once leading has gone well for a while."""
        if self._logged:
            await asyncio.sleep(_STABLE_AFTER)
            self._logged = ""
            self.log_start()


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


@asynccontextmanager
async def lead(database: Database) -> AsyncIterator[Leader]:
    """Wait until this process is the leader; the leadership ends with the context."""
    connection = await _acquire(database)
    metrics.LEADER.set(1)
    try:
        yield Leader(connection)
    finally:
        metrics.LEADER.set(0)
        # Closing ends the session and so releases the lock; a server that does not answer is not waited for.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await connection.close()
        connection.terminate()


async def _acquire(database: Database) -> "asyncpg.Connection[asyncpg.Record]":
    connection: asyncpg.Connection[asyncpg.Record] | None = None
    outage = OutageLog(log, "Waiting for the leader's lock again")
    try:
        while True:
            try:
                if connection is None or connection.is_closed():
                    connection = await database.connect_alone(**_SETTINGS)
                is_held = await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY)
                outage.end()
                if is_held:
                    held, connection = connection, None
                    return held
            except Exception as error:
                if connection is not None and not is_outage(error):
                    raise
                # Without a connection it is an outage, whatever Postgres reports.
                outage.report(f"Cannot become the leader: {describe(error)}")
            await asyncio.sleep(POLL)
    finally:
        if connection is not None:
            connection.terminate()
