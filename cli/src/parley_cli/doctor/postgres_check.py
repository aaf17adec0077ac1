"""Check of Postgres: that it responds, has our schema, and gives the role its privileges."""

from __future__ import annotations

from typing import Final

import asyncpg

from chat_store.errors import SchemaMismatch
from chat_store.storage import schema
from chat_store.storage.pool import MIN_VERSION
from parley.runtime.server_urls import without_credentials
from parley_cli.doctor.clock import Clock, compare
from parley_cli.doctor.report import Report
from parley_cli.doctor.target import Target
from parley_cli.servers import ServerUnusable, postgres, postgres_version

_TIMEOUT: Final = 5.0
_HAS_TABLES: Final = """
SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p')
"""
_MISSING_PRIVILEGES: Final = """
SELECT c.relname, array_agg(p.privilege ORDER BY p.privilege)
FROM pg_class c, unnest(
    CASE c.relname WHEN 'schema_versions' THEN '{SELECT}'::text[] ELSE '{SELECT,INSERT,UPDATE,DELETE}'::text[] END
) AS p (privilege)
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
AND NOT has_table_privilege(c.oid, p.privilege)
GROUP BY c.relname ORDER BY c.relname
"""
_ROLE: Final = """
SELECT current_user AS name, rolsuper OR has_schema_privilege('public', 'CREATE') AS may_create
FROM pg_roles WHERE rolname = current_user
"""
_CONNECTIONS: Final = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS maximum,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS taken
"""


async def check(target: Target, clock: Clock) -> Report:
    report = Report("postgres")
    if not target.database_url:
        report.note("DATABASE_URL is not set and no stack runs here.", "`parley up` starts a PostgreSQL of its own.")
        return report
    where = without_credentials(target.database_url)
    try:
        async with postgres(target.database_url, "parley-doctor", command_timeout=_TIMEOUT) as connection:
            await _check_server(report, connection, where, clock)
    except ServerUnusable as error:
        report.problem(error.text, error.fix)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        report.problem(f"Postgres at {where} failed: {str(error) or type(error).__name__}", "Look at its log.")
    return report


async def _check_server(
    report: Report, connection: asyncpg.Connection[asyncpg.Record], where: str, clock: Clock
) -> None:
    version = connection.get_server_version()
    report.ok(f"{where} answers, version {await postgres_version(connection)}.")
    if version.major < MIN_VERSION:
        report.problem(f"PostgreSQL {version.major} is too old.", f"Parley needs version {MIN_VERSION} or newer.")
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        report.problem("This server is a read-only standby.", "Set DATABASE_URL to the primary.")
    if (encoding := await connection.fetchval("SHOW server_encoding")) != "UTF8":
        report.problem(
            f"The database is encoded as {encoding}, which cannot represent every message.",
            "Create the database with ENCODING 'UTF8'.",
        )
    connections = await connection.fetchrow(_CONNECTIONS)
    assert connections is not None
    if connections["taken"] > 0.9 * connections["maximum"]:
        report.problem(
            f"{connections['taken']} of {connections['maximum']} connections are in use.",
            "Raise max_connections, or lower DATABASE_POOL_SIZE of chat-store.",
        )
    asked_at = clock()
    compare(report, "Postgres", await connection.fetchval("SELECT clock_timestamp()"), asked_at, clock())
    report.made = bool(await connection.fetchval(_HAS_TABLES))
    try:
        await schema.check(connection)
        report.ok("The schema has the version that this program needs.")
    except SchemaMismatch as error:
        fix = "Use a role that may change the schema."
        if report.made:
            report.problem(str(error), fix)
        else:
            text, action = "The database is empty.", "`parley up` and `parley migrate` create the schema."
            report.empty(text, action, otherwise=[(str(error), fix)])
    except asyncpg.InsufficientPrivilegeError:
        pass  # reported below
    await _role(report, connection)


async def _role(report: Report, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    role = await connection.fetchrow(_ROLE)
    assert role is not None
    missing = await connection.fetch(_MISSING_PRIVILEGES)
    if missing:
        tables = "; ".join(f"{row[0]} ({', '.join(row[1])})" for row in missing)
        report.problem(
            f"The role {role['name']} lacks privileges: {tables}.",
            "Grant them as deploy/postgres/privileges.sql does, or use the role to which it grants them.",
        )
    elif role["may_create"]:
        report.note(
            f"The role {role['name']} may change the schema, which a service never needs.",
            "In production let chat-store use a role that cannot: deploy/postgres/roles.sql.",
        )
    else:
        report.ok(f"The role {role['name']} has the privileges that it needs and no more.")
