"""The composition root of chat-store: builds its parts, starts them, and ends them in order."""

import asyncio
import contextlib
import logging
from datetime import timedelta
from typing import Final

from faststream.nats import NatsRouter
from nats.aio.client import Client

from chat_store.errors import CannotServe, SchemaTooOld, Unavailable, describe, is_outage
from chat_store.events.context import EventContext
from chat_store.events.leadership import Leader, lead_whenever_possible
from chat_store.events.publisher import Publisher
from chat_store.events.quotas import Quotas
from chat_store.events.starter import Starter
from chat_store.events.subscribers import Advisories, Finished, Prompts
from chat_store.events.sweeper import Sweeper
from chat_store.rpc import administration, chats, generations, limits, members, messages, rooms, shares
from chat_store.rpc.context import RequestContext
from chat_store.rpc.identity import api_keys, sessions, users
from chat_store.rpc.read_your_writes import Accepted
from chat_store.rpc.routing import MIDDLEWARES, StoreBroker
from chat_store.settings import Settings
from chat_store.storage import schema
from chat_store.storage.pool import Database
from chat_store.storage.searches import Searches
from parley.contracts import streams, subjects
from parley.runtime import tasks
from parley.runtime.health import CannotListen, HealthServer
from parley.runtime.nats import jetstream
from parley.runtime.nats.connect import connect
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley.runtime.nats.jetstream import Needs
from parley.runtime.nats.requests import TimedMsg
from parley.runtime.nats.requirements import require, until_migrated
from parley.runtime.readiness import OutageLog, Readiness

log = logging.getLogger(__name__)

ROUTERS: Final = (
    users.router,
    sessions.router,
    api_keys.router,
    administration.router,
    shares.router,
    chats.router,
    messages.router,
    members.router,
    rooms.router,
    generations.router,
    limits.router,
)

_NEEDS: Final = Needs(
    streams=(streams.CHAT, streams.DEAD_LETTERS, streams.ADVISORIES),
    consumers=(streams.CHAT_STORE_PROMPTS, streams.CHAT_STORE_FINISHED, streams.CHAT_STORE_ADVISORIES),
    publishes=(subjects.generation_requested(jetstream.NOBODY),),
)
_CHECK_INTERVAL: Final = 0.1
_DRAIN_TIMEOUT: Final = 5.0


class ChatStore:
    """The service. :meth:`run` owns its connections and tasks from start to end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(
            settings.database_url,
            size=settings.database_pool_size,
            acquire_timeout=settings.database_acquire_timeout,
            command_timeout=settings.database_command_timeout,
        )
        # A pool of its own: a search may take until its timeout, and nothing else waits for it.
        self._search_database = Database(
            settings.database_url,
            size=settings.search_pool_size,
            acquire_timeout=settings.database_acquire_timeout,
            command_timeout=settings.search_timeout,
        )
        self._readiness = Readiness({"postgres": self._database.problem, "jetstream": self._jetstream_problem})
        self._nc: Client | None = None
        self._closed = asyncio.Event()
        self._consumers: tuple[Prompts | Finished | Advisories, ...] = ()
        self._serving = False

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set.

        Raises:
            SchemaMismatch: the database is of another version.
            NotProvisioned: a stream or consumer is missing.
            CannotServe: NATS closed the connection, or HEALTH_PORT is taken.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                health = HealthServer(self._settings.health_host, self._settings.health_port, self._problems)
                await stack.enter_async_context(health)
            except CannotListen as error:
                raise CannotServe(str(error)) from error
            await self._database.open()
            stack.push_async_callback(tasks.end, asyncio.create_task(self._readiness.watch(), name="readiness"))
            stack.push_async_callback(self._database.close)
            stack.push_async_callback(self._disconnect)
            nc = await tasks.unless(stop, self._connect())
            if nc is not None:
                await self._search_database.open()
                stack.push_async_callback(self._search_database.close)
                await self._serve(nc, stop)
        if self._closed.is_set() and not stop.is_set():
            raise CannotServe("NATS has closed the connection for good; look at NATS_URL and its password.")

    async def _connect(self) -> Client:
        """Connect to both servers and return when they are as this program needs them, however long they are down.

        Raises:
            SchemaMismatch: the database is of another version.
            NotProvisioned: a stream or consumer is missing.
            CannotServe: Postgres is too old, or behind a pooler that shares sessions.
        """

        async def connect_nats() -> Client:
            self._nc = nc = await connect(
                self._settings.nats_url,
                name="chat-store",
                on_closed=self._on_closed,
                on_reconnected=self._on_reconnected,
            )
            nc.msg_class = TimedMsg
            return nc

        wait = self._settings.migration_wait
        nc, _ = await asyncio.gather(connect_nats(), self._database.wait_until_usable())
        await until_migrated(self._check_schema, SchemaTooOld, seconds=wait)
        await require(nc.jetstream(), streams=_NEEDS.streams, consumers=_NEEDS.consumers, wait=wait)
        return nc

    async def _check_schema(self) -> None:
        outage = OutageLog(log, "The schema is the one that is needed")
        while True:
            try:
                async with self._database.connection() as connection:
                    await schema.check(connection)
                    outage.end()
                    return
            except Exception as error:
                if not is_outage(error):
                    raise
                if not isinstance(error, Unavailable):  # which the readiness check of Postgres reports
                    outage.report(f"The schema cannot be checked yet: {describe(error)}")
            await asyncio.sleep(_CHECK_INTERVAL)

    async def _serve(self, nc: Client, stop: asyncio.Event) -> None:
        """Consume events and serve requests until ``stop`` is set, the connection is closed, or a task fails."""
        settings, database, grace = self._settings, self._database, self._settings.shutdown_grace
        js = nc.jetstream()
        publisher = Publisher(nc, js, database, Starter(database, settings.answers_per_user))
        quotas = Quotas(database, settings.limits)
        context = EventContext(nc=nc, js=js, database=database, publisher=publisher, quotas=quotas, grace=grace)
        prompts = Prompts(context, batch=settings.prompt_batch)
        finished = Finished(context, batch=settings.prompt_batch)
        advisories = Advisories(context)

        async def sweep(_: Leader) -> None:
            sweeper = Sweeper(
                context,
                finished,
                orphan_after=settings.orphan_after,
                forget_guests_after=_days(settings.forget_guests_after),
                retention=_days(settings.retention_days),
            )
            await sweeper.run()

        self._consumers = (prompts, finished, advisories)
        broker = await self._serve_requests(nc, publisher, Accepted(js, database), quotas)
        consuming = [
            asyncio.create_task(lead_whenever_possible(database, prompts.run, sweep), name="leader"),
            asyncio.create_task(finished.run(), name="finished"),
            asyncio.create_task(advisories.run(), name="advisories"),
        ]
        self._serving = True
        self._readiness.check_now()
        log.info("chat-store is ready")
        try:
            await self._until_stopped(stop, consuming)
            # Consumers first: their messages get an ack or a nak while requests are still served.
            for task in consuming:
                task.cancel()
            _, late = await asyncio.wait(consuming, timeout=2 * grace)
            if late:
                log.warning("Not ended within the drain timeout: %s", ", ".join(task.get_name() for task in late))
            await publisher.drain(grace)
        finally:
            self._serving = False
            try:
                await broker.stop()
            except TRANSIENT_ERRORS as error:
                log.debug("Stopping the request handlers: %r", error)

    async def _serve_requests(
        self, nc: Client, publisher: Publisher, accepted: Accepted, quotas: Quotas
    ) -> StoreBroker:
        settings = self._settings
        searches = Searches(self._search_database, size=settings.search_pool_size, seconds=settings.search_timeout)
        await nc.subscribe(subjects.ctl_search_cancel("*"), cb=searches.on_cancel)
        broker = StoreBroker(nc, graceful_timeout=settings.shutdown_grace)
        broker.context.set_global(
            "store",
            RequestContext(
                database=self._database, publisher=publisher, accepted=accepted, searches=searches, quotas=quotas
            ),
        )
        broker.include_router(NatsRouter(routers=ROUTERS, middlewares=MIDDLEWARES))
        await broker.start()
        # Until the server has the subscriptions, a request finds no responder. A reply to what is sent after them shows
        # that it has; nats-py's flush() does not, whose ping may be sent before them.
        await self._jetstream_problem()
        return broker

    async def _until_stopped(self, stop: asyncio.Event, consuming: list[asyncio.Task[None]]) -> None:
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(self._closed.wait())]
        try:
            done, _ = await asyncio.wait([*waits, *consuming], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await tasks.end(*waits)
        for task in done.intersection(consuming):
            # None of them returns by itself.
            task.result()

    async def _disconnect(self) -> None:
        if self._nc is None or self._nc.is_closed:
            return
        try:
            async with asyncio.timeout(_DRAIN_TIMEOUT):
                await self._nc.drain()
        except TRANSIENT_ERRORS as error:
            log.debug("Closing the connection to NATS: %r", error)

    async def _on_closed(self) -> None:
        self._closed.set()

    async def _on_reconnected(self) -> None:
        for consumer in self._consumers:
            consumer.pull.renew()

    async def _jetstream_problem(self) -> str | None:
        return None if self._nc is None else await jetstream.check(self._nc, _NEEDS)

    async def _problems(self) -> dict[str, str]:
        problems = self._readiness.problems
        if self._nc is None or not self._nc.is_connected:
            problems["nats"] = "NATS is not connected."
        return problems or ({} if self._serving else {"chat-store": "It is starting."})


def _days(count: float) -> timedelta | None:
    return timedelta(days=count) if count else None
