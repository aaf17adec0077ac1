"""The composition root of chat-store: builds everything, starts it, and ends it in order."""

import asyncio
import logging
import random
from collections.abc import Iterator
from typing import Any

import nats.errors
from faststream.nats import NatsBroker

from chat_store import queries, schema
from chat_store.database import Database
from chat_store.errors import is_outage
from chat_store.leadership import Leader, lead
from chat_store.publisher import Publisher
from chat_store.queries import Queries
from chat_store.settings import Settings
from chat_store.subscribers import Advisories, Finished, Prompts
from chat_store.sweeper import Sweeper
from parley.contracts.streams import (
    ADVISORIES,
    CHAT,
    CHAT_STORE_ADVISORIES,
    CHAT_STORE_FINISHED,
    CHAT_STORE_PROMPTS,
    DEAD_LETTERS,
)
from parley.runtime import bus
from parley.runtime.health import HealthServer

log = logging.getLogger(__name__)


class ConnectionClosed(Exception):
    """NATS closed the connection for good. The process ends, and its supervisor starts it again."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set.

    Raises:
        SchemaMismatch: the database is of another version.
        NotProvisioned: a stream or consumer is missing.
        ConnectionClosed: NATS refuses us.
    """
    closed = asyncio.Event()
    renewed: list[Prompts | Finished | Advisories] = []

    async def on_closed() -> None:
        closed.set()

    async def on_reconnected() -> None:
        for subscriber in renewed:
            subscriber.renew()

    options = bus.connect_options(settings.nats_url, "chat-store", on_closed=on_closed, on_reconnected=on_reconnected)
    # Requests are answered by FastStream; it neither declares anything nor logs each message.
    broker = NatsBroker(
        **options, apply_types=False, logger=None, graceful_timeout=settings.shutdown_grace, drain_timeout=5
    )
    database = Database(
        settings.database_url,
        size=settings.database_pool_size,
        acquire_timeout=settings.database_acquire_timeout,
        command_timeout=settings.database_command_timeout,
    )

    async def ready() -> dict[str, str]:
        problems = {}
        if closed.is_set() or not nc.is_connected:
            problems["nats"] = "NATS is not connected."
        if (problem := await database.problem()) is not None:
            problems["postgres"] = problem
        return problems

    opening = asyncio.gather(broker.connect(), database.open())
    if not await _done_before(stop, opening):
        return
    nc, _ = opening.result()
    try:
        js = nc.jetstream()
        async with database.connection() as connection:
            await schema.check(connection)
        await bus.require(
            js,
            streams=(CHAT, DEAD_LETTERS, ADVISORIES),
            consumers=(CHAT_STORE_PROMPTS, CHAT_STORE_FINISHED, CHAT_STORE_ADVISORIES),
        )
        publisher = Publisher(nc, js, database)
        grace = settings.shutdown_grace
        prompts = Prompts(nc, js, publisher, batch=settings.prompt_batch, grace=grace)
        finished = Finished(nc, js, database, publisher, batch=settings.prompt_batch, grace=grace)
        advisories = Advisories(nc, js, database, publisher, grace=grace)
        sweeper = Sweeper(nc, js, database, publisher, finished, orphan_after=settings.orphan_after)
        renewed.extend((prompts, finished, advisories))
        queries.register(broker, Queries(database, publisher))
        async with HealthServer(settings.health_host, settings.health_port, ready):
            await broker.start()
            tasks = [
                asyncio.create_task(_lead(database, prompts, sweeper), name="leader"),
                asyncio.create_task(finished.run(), name="finished"),
                asyncio.create_task(advisories.run(), name="advisories"),
            ]
            log.info("chat-store is ready")
            await _until_stopped(stop, closed, tasks)
            # Events first, so that what is in hand is committed or handed back while requests are still answered.
            for task in tasks:
                task.cancel()
            _, late = await asyncio.wait(tasks, timeout=2 * grace)
            if late:
                log.warning("Did not end in time: %s", ", ".join(task.get_name() for task in late))
            await publisher.drain(grace)
    finally:
        try:
            await broker.stop()
        except nats.errors.Error as error:
            log.debug("Closing the connection to NATS: %r", error)
        await database.close()
    if closed.is_set() and not stop.is_set():
        raise ConnectionClosed("NATS closed the connection for good.")


async def _done_before(stop: asyncio.Event, work: asyncio.Future[Any]) -> bool:
    """Wait for ``work``; False: we were told to stop before."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, work], return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        stopped.cancel()
        return True
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    return False


async def _until_stopped(stop: asyncio.Event, closed: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(closed.wait())]
    try:
        done, _ = await asyncio.wait([*waits, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    for task in done.intersection(tasks):
        # None of them ends by itself.
        task.result()


async def _lead(database: Database, prompts: Prompts, sweeper: Sweeper) -> None:
    """Be the leader whenever nobody else is."""
    while True:
        async with lead(database) as leader:
            log.info("Taking prompts in")
            try:
                await _while_leading(leader, prompts, sweeper)
            except* Exception as group:
                cause = next(_leaves(group))
                expected = all(is_outage(error) for error in _leaves(group))
                log.log(
                    logging.WARNING if expected else logging.ERROR,
                    "Not taking prompts in any more: %r",
                    cause,
                    exc_info=None if expected else cause,
                )
        # For another replica to have its turn, if this one is what ails.
        await asyncio.sleep(random.uniform(0.1, 0.5))


async def _while_leading(leader: Leader, prompts: Prompts, sweeper: Sweeper) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(leader.hold())
        group.create_task(prompts.run(leader))
        group.create_task(sweeper.run())


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
