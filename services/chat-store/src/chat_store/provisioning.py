"""The one-shot step before any service: the schema in Postgres, streams and consumers in NATS."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from chat_store.errors import CannotServe, describe
from chat_store.settings import MigrateSettings
from chat_store.storage import indexes, pool, schema, search_index
from parley.runtime.nats import provision
from parley.runtime.nats.connect import connect
from parley.runtime.readiness import OutageLog

log = logging.getLogger(__name__)

_CONNECT_AGAIN: Final = 0.2

T = TypeVar("T")


async def migrate(settings: MigrateSettings) -> None:
    """Bring both up to date; done again, nothing happens.

    Raises:
        SchemaMismatch: the database is newer than this program.
        Differs: a stream exists with other settings.
        CannotServe: Postgres or NATS did not answer in ``migrate_timeout`` seconds.
    """
    limit = settings.migrate_timeout
    # Not a task group: the caller wants the one error, and the process ends with it anyway.
    await asyncio.gather(
        _migrate_postgres(settings.database_url, limit),
        _within(limit, "NATS", "NATS_URL", _provision_nats(settings)),
    )


async def _within(limit: float, server: str, setting: str, work: Coroutine[Any, Any, T]) -> T:
    try:
        async with asyncio.timeout(limit):
            return await work
    except TimeoutError as error:
        raise CannotServe(f"{server} did not answer within {limit:g} s. Start it, or correct {setting}.") from error


async def _migrate_postgres(url: str, limit: float) -> None:
    # The limit is for the answer alone: a large table takes the time that it takes.
    connection = await _within(limit, "Postgres", "DATABASE_URL", _connect(url))
    try:
        applied = await schema.migrate(connection)
        await search_index.ensure(connection)
        await indexes.ensure(connection)
    finally:
        await connection.close()
    log.info("The schema is up to date%s", f" ({', '.join(applied)} applied)" if applied else "")


async def _connect(url: str) -> pool.Session:
    outage = OutageLog(log, "Postgres answers")
    while True:
        try:
            await pool.check_server(url)
            connection = await pool.connect(url, settings={"application_name": "parley-migrate"})
            outage.end()
            return connection
        except ValueError as error:
            raise CannotServe(f"DATABASE_URL is not as it must be: {error}.") from error
        except pool.CONNECT_ERRORS as error:
            outage.report(describe(error))
        await asyncio.sleep(_CONNECT_AGAIN)


async def _provision_nats(settings: MigrateSettings) -> None:
    nc = await connect(settings.nats_url, name="chat-store-migrate")
    try:
        done = await provision.provision(nc, replicas=settings.stream_replicas, ack_wait=settings.ack_wait)
    finally:
        await nc.close()
    for one in done:
        log.info("%s", f"Mended: {one}" if one.endswith(".") else f"Created {one}")
    log.info("The streams are up to date")
