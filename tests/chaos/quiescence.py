"""After the faults: waiting until all answers have ended and every reader is up to date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

from parley_cli.polling import poll
from tests.chaos.stored import Stored, count_unfinished, read_stored
from tests.chaos.workload import Workload

_SEND_TIMEOUT = 90.0
_QUIESCENCE_TIMEOUT = 150.0
_CATCH_UP_TIMEOUT = 60.0
_EVERY = 0.5


async def wait_for_quiescence(workload: Workload, database_url: str, log: Callable[[str], None]) -> Stored:
    """Let the users finish, wait for all answers and readers, and return what is stored.

    A timeout is logged, and its cause left to the invariant checks.
    """
    await workload.finish(_SEND_TIMEOUT)
    if not await _until(lambda: _is_quiescent(database_url), _QUIESCENCE_TIMEOUT):
        log("answers did not all end in time; checking invariants")
    stored = await read_stored(database_url)
    if not await _until(lambda: _caught_up(workload, stored), _CATCH_UP_TIMEOUT):
        log("readers did not all catch up in time; checking invariants")
    return stored


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Wait for the condition; false when it did not come true in time."""
    try:
        return await poll(condition, timeout=seconds, every=_EVERY)
    except TimeoutError:
        return False


async def _is_quiescent(database_url: str) -> bool:
    try:
        return await count_unfinished(database_url) == 0
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False


async def _caught_up(workload: Workload, stored: Stored) -> bool:
    return all(each.version == stored.versions.get(each.chat_id) for each in workload.readings())
