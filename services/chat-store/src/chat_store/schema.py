"""The database's version: migrating forward, and refusing to run on any other."""

import logging
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import asyncpg

from chat_store.errors import SchemaMismatch
from chat_store.repository import Connection

log = logging.getLogger(__name__)

LOCK_KEY: Final = 0x7061726C6579  # "parley"
"""The advisory lock that lets one migration run at a time."""

_CREATE_VERSIONS: Final = """
CREATE TABLE IF NOT EXISTS schema_versions (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_GET_VERSION: Final = "SELECT coalesce(max(version), 0) FROM schema_versions"
_ADD_VERSION: Final = "INSERT INTO schema_versions (version, name) VALUES ($1, $2)"

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """All migrations, oldest first; their versions count from 1 without a gap."""
    found = []
    for file in files("chat_store").joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match is not None:
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise AssertionError("the migrations' numbers have a gap")
    return found


async def migrate(connection: "asyncpg.Connection[asyncpg.Record]", *, to: int | None = None) -> list[str]:
    """Bring the database to version ``to`` (the newest); return the names of what was applied.

    Each step is one transaction, so a step that fails leaves the version before it.

    Raises:
        SchemaMismatch: the database is newer than this program.
    """
    steps = migrations()
    target = len(steps) if to is None else to
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    try:
        await connection.execute(_CREATE_VERSIONS)
        current = await connection.fetchval(_GET_VERSION)
        if current > len(steps):
            raise SchemaMismatch(_newer(current, len(steps)))
        applied = []
        for step in steps[current:target]:
            async with connection.transaction():
                await connection.execute(step.sql)
                await connection.execute(_ADD_VERSION, step.version, step.name)
            log.info("Applied migration %04d %s", step.version, step.name)
            applied.append(f"{step.version:04d}_{step.name}")
        return applied
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)


async def check(connection: Connection) -> None:
    """Return when the database has the version of this program.

    Raises:
        SchemaMismatch: it has not; the text says what to do.
    """
    needed = len(migrations())
    try:
        current = await connection.fetchval(_GET_VERSION)
    except asyncpg.UndefinedTableError:
        current = 0
    if current > needed:
        raise SchemaMismatch(_newer(current, needed))
    if current < needed:
        raise SchemaMismatch(
            f"The database has schema version {current}, and this program needs {needed}. Run `parley migrate`."
        )


def _newer(current: int, known: int) -> str:
    return (
        f"The database has schema version {current}, and this program knows only {known}. "
        "Run a newer version of Parley, or restore the backup from before the upgrade."
    )
