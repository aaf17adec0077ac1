"""The composition root of chat-store: builds everything, starts it, and ends it in order."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from faststream.nats import NatsBroker
from nats.aio.client import Client

from chat_store.errors import CannotServe, SchemaTooOld, Unavailable, describe, is_outage
from chat_store.events.leadership import Leader, lead
from chat_store.events.publisher import Publisher
from chat_store.events.subscribers import Advisories, Finished, Prompts
from chat_store.events.sweeper import Sweeper
from chat_store.rpc import handlers
from chat_store.rpc.handlers import Queries
from chat_store.rpc.read_your_writes import Accepted
from chat_store.settings import Settings
from chat_store.storage import schema
from chat_store.storage.pool import Database
from chat_store.storage.searches import Searches
from parley.contracts import subjects
from parley.contracts.streams import (
    ADVISORIES,
    CHAT,
    CHAT_STORE_ADVISORIES,
    CHAT_STORE_FINISHED,
    CHAT_STORE_PROMPTS,
    DEAD_LETTERS,
)
from parley.runtime import tasks
from parley.runtime.health import CannotListen, HealthServer
from parley.runtime.nats import jetstream
from parley.runtime.nats.connect import connect_options, use_client
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley.runtime.nats.jetstream import Needs
from parley.runtime.nats.requests import TimedMsg
from parley.runtime.nats.requirements import require, until_migrated
from parley.runtime.readiness import Readiness, Trouble

log = logging.getLogger(__name__)

_NEEDS: Final = Needs(
    streams=(CHAT, DEAD_LETTERS, ADVISORIES),
    consumers=(CHAT_STORE_PROMPTS, CHAT_STORE_FINISHED, CHAT_STORE_ADVISORIES),
    publishes=(subjects.generation_requested(jetstream.NOBODY),),
)
_CHECK_AGAIN: Final = 0.1
_SETTLED: Final = 1.0
"""Seconds of leading after which the trouble before is over."""
_SAY_AGAIN: Final = 10.0
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 4.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set.

    Raises:
        SchemaMismatch: the database is of another version.
        NotProvisioned: a stream or consumer is missing.
        CannotServe: NATS closed the connection, or HEALTH_PORT is taken.
    """
    closed = asyncio.Event()
    renewed: list[Prompts | Finished | Advisories] = []

    async def on_closed() -> None:
        closed.set()

    async def on_reconnected() -> None:
        for subscriber in renewed:
            subscriber.renew()

    options = connect_options(settings.nats_url, "chat-store", on_closed=on_closed, on_reconnected=on_reconnected)
    # Requests are answered by FastStream; it neither declares anything nor logs each message.
    broker = NatsBroker(
        **options, apply_types=False, logger=None, graceful_timeout=settings.shutdown_grace, drain_timeout=5
    )
    use_client(broker, options)
    database = Database(
        settings.database_url,
        size=settings.database_pool_size,
        acquire_timeout=settings.database_acquire_timeout,
        command_timeout=settings.database_command_timeout,
    )

    # Apart: a search may take as long as it is let, and nobody else waits for it.
    for_searches = Database(
        settings.database_url,
        size=settings.search_pool_size,
        acquire_timeout=settings.database_acquire_timeout,
        command_timeout=settings.search_timeout,
    )
    searches = Searches(for_searches, size=settings.search_pool_size, seconds=settings.search_timeout)

    nc: Client | None = None

    async def jetstream_problem() -> str | None:
        return None if nc is None else await jetstream.check(nc, _NEEDS)

    readiness = Readiness({"postgres": database.problem, "jetstream": jetstream_problem})

    async def ready() -> dict[str, str]:
        problems = readiness.problems
        if nc is None or not nc.is_connected:
            problems["nats"] = "NATS is not connected."
        return problems or ({} if serving else {"chat-store": "It is starting."})

    serving = False
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(HealthServer(settings.health_host, settings.health_port, ready))
        except CannotListen as error:
            raise CannotServe(str(error)) from error
        await database.open()
        watching = asyncio.create_task(readiness.watch(), name="readiness")
        stack.push_async_callback(tasks.end, watching)
        try:

            async def connect() -> Client:
                nonlocal nc
                connected: Client = await broker.connect()
                connected.msg_class = TimedMsg
                nc = connected
                return connected

            if await tasks.unless(stop, _open(connect, database, settings.migration_wait)) is None or nc is None:
                return
            await for_searches.open()
            await nc.subscribe(subjects.ctl_search_cancel("*"), cb=searches.on_cancel)
            js = nc.jetstream()
            publisher = Publisher(nc, js, database)
            grace = settings.shutdown_grace
            prompts = Prompts(nc, js, database, publisher, batch=settings.prompt_batch, grace=grace)
            finished = Finished(nc, js, database, publisher, batch=settings.prompt_batch, grace=grace)
            advisories = Advisories(nc, js, database, publisher, grace=grace)
            sweeper = Sweeper(nc, js, database, publisher, finished, orphan_after=settings.orphan_after)
            renewed.extend((prompts, finished, advisories))
            handlers.register(broker, Queries(database, publisher, Accepted(js, database), searches))
            await broker.start()
            running = [
                asyncio.create_task(_lead(database, prompts, sweeper), name="leader"),
                asyncio.create_task(finished.run(), name="finished"),
                asyncio.create_task(advisories.run(), name="advisories"),
            ]
            serving = True
            readiness.look_again()
            log.info("chat-store is ready")
            await _until_stopped(stop, closed, running)
            # Events first, so that what is in hand is committed or handed back while requests are still answered.
            for task in running:
                task.cancel()
            _, late = await asyncio.wait(running, timeout=2 * grace)
            if late:
                log.warning("Did not end in time: %s", ", ".join(task.get_name() for task in late))
            await publisher.drain(grace)
        finally:
            serving = False
            try:
                await broker.stop()
            except TRANSIENT_ERRORS as error:
                log.debug("Closing the connection to NATS: %r", error)
            await for_searches.close()
            await database.close()
    if closed.is_set() and not stop.is_set():
        raise CannotServe("NATS has closed the connection for good; look at NATS_URL and its password.")


async def _open(
    connect: Callable[[], Coroutine[Any, Any, Client]], database: Database, migration_wait: float
) -> Client:
    """Connect to both servers and return when they are as this program needs them, however long they are away.

    Raises:
        SchemaMismatch: the database is of another version.
        NotProvisioned: a stream or consumer is missing.
        CannotServe: Postgres is too old, or behind a pooler that shares sessions.
    """
    nc: Client
    nc, _ = await asyncio.gather(connect(), database.wait_until_usable())
    await until_migrated(lambda: _check_schema(database), SchemaTooOld, seconds=migration_wait)
    await require(nc.jetstream(), streams=_NEEDS.streams, consumers=_NEEDS.consumers, wait=migration_wait)
    return nc


async def _check_schema(database: Database) -> None:
    trouble = Trouble(log, "The schema is the one that is needed")
    while True:
        try:
            async with database.connection() as connection:
                await schema.check(connection)
                trouble.end()
                return
        except Exception as error:
            if not is_outage(error):
                raise
            if not isinstance(error, Unavailable):  # which is told by who looks at Postgres
                trouble.note(f"The schema cannot be checked yet: {describe(error)}")
        await asyncio.sleep(_CHECK_AGAIN)


async def _until_stopped(stop: asyncio.Event, closed: asyncio.Event, running: list[asyncio.Task[None]]) -> None:
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(closed.wait())]
    try:
        done, _ = await asyncio.wait([*waits, *running], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await tasks.end(*waits)
    for task in done.intersection(running):
        # None of them ends by itself.
        task.result()


async def _lead(database: Database, prompts: Prompts, sweeper: Sweeper) -> None:
    """Be the leader whenever nobody else is."""
    trouble = _Trouble()
    while True:
        async with lead(database) as leader:
            if not trouble.lasts:
                log.info("Taking prompts in")
            try:
                await _while_leading(leader, prompts, sweeper, trouble)
            except* Exception as group:
                trouble.note(list(_leaves(group)))
        # For another replica to have its turn, if this one is what ails.
        await asyncio.sleep(trouble.pause * random.uniform(0.5, 1.0))


class _Trouble:
    """What keeps the leader from leading. Said once, not with every try."""

    def __init__(self) -> None:
        self.pause = _FIRST_PAUSE
        self._said = ""
        self._said_at = 0.0

    @property
    def lasts(self) -> bool:
        return bool(self._said)

    def note(self, errors: list[BaseException]) -> None:
        """An end of leading."""
        self.pause = min(2 * self.pause, _LONGEST_PAUSE) if self.lasts else _FIRST_PAUSE
        cause = errors[0]
        expected = all(is_outage(error) for error in errors)
        level = logging.WARNING if expected else logging.ERROR
        now = time.monotonic()
        if repr(cause) == self._said and now - self._said_at < _SAY_AGAIN:
            level = logging.DEBUG
        else:
            self._said, self._said_at = repr(cause), now
        log.log(
            level,
            "Not taking prompts in any more: %s",
            describe(cause) if expected else repr(cause),
            exc_info=None if expected else cause,
        )

    async def settle(self) -> None:
        """Be over once leading has gone well for a while."""
        if self.lasts:
            await asyncio.sleep(_SETTLED)
            self._said = ""
            log.info("Taking prompts in")


async def _while_leading(leader: Leader, prompts: Prompts, sweeper: Sweeper, trouble: _Trouble) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(leader.hold())
        group.create_task(prompts.run(leader))
        group.create_task(sweeper.run())
        group.create_task(trouble.settle())


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
