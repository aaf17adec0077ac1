"""The index that finds what a user wrote, for erasing it. Made concurrently, since messages are the largest table."""

import logging
from typing import Final

import asyncpg

log = logging.getLogger(__name__)

LOCK_KEY: Final = 0x617574686F72  # "author"
INDEX: Final = "messages_by_author"

_IS_VALID: Final = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
_MAKE_INDEX: Final = f"CREATE INDEX CONCURRENTLY {INDEX} ON messages (author_id, chat_id) WHERE author_id IS NOT NULL"


async def ensure(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Create the index if it is missing, or if its creation was interrupted."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
        return
    try:
        is_valid = await connection.fetchval(_IS_VALID, INDEX)
        if is_valid:
            return
        if is_valid is False:
            await connection.execute(f"DROP INDEX {INDEX}")
        await connection.execute(_MAKE_INDEX)
        log.info("Created the index %s", INDEX)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)
