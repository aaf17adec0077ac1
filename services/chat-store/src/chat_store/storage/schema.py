"""The database's version: migrating forward, and refusing to run on what this program does not understand.

A release is rolled out schema first, so for a while programs run on a schema that is newer than they are. Each
migration says in its first line with which programs its result still works, a program being named by the newest
migration that it knows: ``-- runs-with: 3`` works with all that know migration 3. What an older program needs is taken
away ("contract") only by a later migration, which says so.
"""

import logging
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import asyncpg

from chat_store.errors import SchemaMismatch, SchemaTooOld
from chat_store.storage.rows import Connection

log = logging.getLogger(__name__)

LOCK_KEY: Final = 0x7061726C6579  # "parley"
"""The advisory lock that lets one migration run at a time."""

_CREATE_VERSIONS: Final = """
CREATE TABLE IF NOT EXISTS schema_versions (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    runs_with  integer     NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_GET_VERSION: Final = (
    "SELECT coalesce(max(version), 0) AS version, coalesce(max(runs_with), 0) AS runs_with FROM schema_versions"
)
_ADD_VERSION: Final = "INSERT INTO schema_versions (version, name, runs_with) VALUES ($1, $2, $3)"

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_RUNS_WITH = re.compile(r"-- runs-with: (\d+)\n")


@dataclass(frozen=True)
class Migration:
    """One step.

    Attributes:
        sql: Run in one transaction.
        runs_with: The oldest program that its result works with.
    """

    version: int
    name: str
    sql: str
    runs_with: int


def migrations() -> list[Migration]:
    """All migrations, oldest first; their versions count from 1 without a gap."""
    found = []
    for file in files("chat_store.storage").joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match is not None:
            sql = file.read_text(encoding="utf-8")
            runs_with = _RUNS_WITH.match(sql)
            if runs_with is None:
                raise AssertionError(f"{file.name} does not say with which programs it runs")
            found.append(Migration(int(match[1]), match[2], sql, int(runs_with[1])))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise AssertionError("the migrations' numbers have a gap")
    return found


async def migrate(connection: "asyncpg.Connection[asyncpg.Record]", *, to: int | None = None) -> list[str]:
    """Bring the database to version ``to`` (the newest); return the names of what was applied.

    Each step is one transaction, so a step that fails leaves the version before it.

    Raises:
        SchemaMismatch: the database is too new for this program.
    """
    steps = migrations()
    target = len(steps) if to is None else to
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    try:
        await connection.execute(_CREATE_VERSIONS)
        current = await _current(connection, len(steps))
        applied = []
        for step in steps[current:target]:
            async with connection.transaction():
                await connection.execute(step.sql)
                await connection.execute(_ADD_VERSION, step.version, step.name, step.runs_with)
            log.info("Applied migration %04d %s", step.version, step.name)
            applied.append(f"{step.version:04d}_{step.name}")
        return applied
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)


async def check(connection: Connection) -> None:
    """Return when this program runs on the database.

    Raises:
        SchemaMismatch: it does not; the text says what to do.
    """
    needed = len(migrations())
    try:
        current = await _current(connection, needed)
    except asyncpg.UndefinedTableError:
        current = 0
    if current < needed:
        raise SchemaTooOld(
            f"The database has schema version {current}, and this program needs {needed}. Run `parley migrate`."
        )


async def _current(connection: Connection, known: int) -> int:
    row = await connection.fetchrow(_GET_VERSION)
    if row is None or row["runs_with"] <= known:
        return 0 if row is None else int(row["version"])
    raise SchemaMismatch(
        f"The database has schema version {row['version']}, and this program knows only {known}. "
        "Run a newer version of Parley, or restore the backup from before the upgrade."
    )
