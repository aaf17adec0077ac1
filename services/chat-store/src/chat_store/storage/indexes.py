"""Indexes on tables that are large when they are added: created concurrently, since a migration would block writes.

They are no migrations, which run in transactions (``docs/decisions/0044``). Nothing but speed depends on them.
"""

import logging
from typing import Final

import asyncpg

log = logging.getLogger(__name__)

LOCK_KEY: Final = 0x696E64657865  # "indexe"

INDEXES: Final = {
    # What a user wrote, for erasing it.
    "messages_by_author": "messages (author_id, chat_id) WHERE author_id IS NOT NULL",
    # What the limits of a user count. Not by the status, as generations_one_active is: where the statistics know of no
    # active row, look-ups by chat would read all of this one.
    "generations_unended_by_user": "generations (user_id) WHERE ended_at IS NULL",
    "usage_by_time": "usage (user_id, created_at)",
}
"""By name, what each is on."""

REPLACED: Final = ("generations_active_by_user",)
"""Indexes that the same step created before."""

_IS_VALID: Final = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"


async def ensure(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Create each index that is missing, or whose creation was interrupted."""
    # Another migration that runs at the same time creates them, and an index under way looks like an interrupted one.
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
        return
    try:
        for name, definition in INDEXES.items():
            is_valid = await connection.fetchval(_IS_VALID, name)
            if is_valid:
                continue
            if is_valid is False:
                await connection.execute(f"DROP INDEX CONCURRENTLY {name}")
            await connection.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
            log.info("Created the index %s", name)
        for name in REPLACED:
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)
