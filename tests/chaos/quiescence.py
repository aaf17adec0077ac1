"""After a run: waiting until everything has ended and every reader is up to date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

from parley_cli.polling import poll
from tests.chaos.stored import Database, Stored
from tests.chaos.workload import Crowd

_LAST_WORDS = 90.0
_REST = 150.0
_CAUGHT_UP = 60.0
_EVERY = 0.5


async def rest(crowd: Crowd, database_url: str, say: Callable[[str], None]) -> Stored:
    """Let the users finish, wait for every answer's end and every reader, and return what is stored.

    What does not come to rest in time is said, and left to the checks.
    """
    await crowd.hush(_LAST_WORDS)
    database = Database(database_url)
    if not await _until(lambda: _at_rest(database), _REST):
        say("there is no rest; checking all the same")
    stored = await database.everything()
    if not await _until(lambda: _caught_up(crowd, stored), _CAUGHT_UP):
        say("some readers did not catch up; checking all the same")
    return stored


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Wait for the condition; false when it did not come true in time."""
    try:
        return await poll(condition, timeout=seconds, every=_EVERY)
    except TimeoutError:
        return False


async def _at_rest(database: Database) -> bool:
    try:
        return await database.unfinished() == 0
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False


async def _caught_up(crowd: Crowd, stored: Stored) -> bool:
    return all(each.version == stored.versions.get(each.chat_id) for each in crowd.readings())
