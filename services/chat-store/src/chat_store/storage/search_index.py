"""The index of search, where Postgres has what it needs: nothing but speed depends on it (docs/decisions/0022).

It is no migration, since whether it can be made differs by server, and may be otherwise the next time; and it is made
concurrently, without blocking writes.
"""

import logging
from typing import Final

import asyncpg

log = logging.getLogger(__name__)

LOCK_KEY: Final = 0x736561726368  # "search"
INDEX: Final = "messages_folded"

_HAS_EXTENSION: Final = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')"
_IS_VALID: Final = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
_MAKE_INDEX: Final = f"CREATE INDEX CONCURRENTLY {INDEX} ON messages USING gin (folded gin_trgm_ops)"
_KNOWS_CASE: Final = "SELECT upper('é') = 'É'"


async def ensure(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Make the index if it is missing; log a sentence when that is not possible."""
    if not await connection.fetchval(_KNOWS_CASE):
        log.warning(
            "The locale of this database (LC_CTYPE) knows only ASCII letters, so a search distinguishes é from É. "
            "Create the database with a locale of UTF-8, such as C.UTF-8."
        )
    if not await connection.fetchval(_HAS_EXTENSION):
        log.info("This server has no pg_trgm, so a search reads all messages of the one who searches.")
        return
    # Another migration that runs at the same time makes it, and an index that is being made looks like a broken one.
    if await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
        try:
            await _make(connection)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)


async def _make(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    is_valid = await connection.fetchval(_IS_VALID, INDEX)
    if is_valid:
        return
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except asyncpg.PostgresError as error:
        log.warning(
            "pg_trgm cannot be created (%s), so a search reads all messages of the one who searches. "
            "Let an administrator of this database run `CREATE EXTENSION pg_trgm`, then migrate again.",
            str(error).splitlines()[0],
        )
        return
    if is_valid is False:
        # Its making was interrupted.
        await connection.execute(f"DROP INDEX {INDEX}")
    await connection.execute(_MAKE_INDEX)
    log.info("Created the index %s", INDEX)
