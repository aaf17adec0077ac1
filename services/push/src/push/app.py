"""The composition root: builds push from its settings and runs it."""

import asyncio
import contextlib
import logging

from prometheus_client import REGISTRY

from parley.contracts import subjects
from parley.runtime.health import CannotListen, HealthServer
from parley.runtime.tasks import Tasks, end, unless
from push import metrics
from push.bus.connection import Bus
from push.bus.request_limiter import RequestLimiter
from push.errors import StartupError
from push.rooms.chat_lists import ChatLists
from push.rooms.registry import Rooms, Timing
from push.settings import Settings
from push.transport.identities import Identities
from push.transport.server import Server
from push.transport.session import SessionContext
from push.transport.tickets import Tickets

log = logging.getLogger(__name__)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve sockets until ``stop`` is set, then drain and return.

    Raises:
        StartupError: the address is taken, or NATS closed the connection for good.
    """
    bus = Bus()
    push = Push(settings, bus)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(HealthServer(settings.health_host, settings.health_port, push.problems))
        except CannotListen as error:
            raise StartupError(str(error)) from error
        connecting = bus.connect(settings.nats_url, on_reconnected=push.on_reconnected, on_closed=push.on_closed)
        if await unless(stop, connecting) is None:
            return
        stack.push_async_callback(bus.close)
        stack.push_async_callback(push.close)
        await push.start()
        await push.serve(stop)


class Push:
    """One push process: its parts, and the tasks that belong to it."""

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self._settings = settings
        self._bus = bus
        self._closed = asyncio.Event()
        self._problems = {"nats": "not connected yet"}
        self._publishing = Tasks()
        self._counters = metrics.Counters()
        timing = Timing(quiet=settings.silence_seconds, check=settings.check_seconds)
        self._rooms = Rooms(bus, self._counters, timing)
        self._lists = ChatLists(bus)
        self._tickets = Tickets(lambda used: self._publishing.start(bus.publish(subjects.CTL_TICKET_USED, used)))
        self._identities = Identities(RequestLimiter(bus, 1))
        self._context = SessionContext(self._rooms, self._lists, self._tickets, self._identities, settings)
        self._server = Server(self._context, settings)

    async def problems(self) -> dict[str, str]:
        """What keeps this process from being ready, by name."""
        if not self._problems and not self._bus.connected:
            return {"nats": "not connected"}
        return self._problems

    async def on_reconnected(self) -> None:
        self._rooms.reconnected()
        self._lists.reconnected()
        self._identities.reconnected()

    async def on_closed(self) -> None:
        self._closed.set()

    async def start(self) -> None:
        """Listen.

        Raises:
            StartupError: the address is taken.
        """
        await self._bus.subscribe(subjects.CTL_TICKET_USED, self._tickets.on_used)
        await self._bus.subscribe(subjects.CTL_IDENTITY_REVOKED, self._identities.on_revoked)
        await self._bus.subscribe(subjects.ANY_LIVE_REJECTED, self._context.on_rejected)
        self._publish_metrics()
        host, port = self._settings.host, self._settings.port
        try:
            await self._server.start(host, port)
        except OSError as error:
            raise StartupError(f"Cannot listen on {host}:{port}: {error.strerror or error}") from error
        log.info("Listening on ws://%s:%d/ws", host, self._server.port)
        self._problems.clear()

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set or NATS is closed, then drain.

        Raises:
            StartupError: NATS closed the connection for good.
        """
        work = (
            self._rooms.watch_clock(),
            self._rooms.check_versions(),
            self._server.ping(),
            self._identities.watch(),
        )
        upkeep = [asyncio.create_task(one) for one in work]
        ends = [asyncio.create_task(stop.wait()), asyncio.create_task(self._closed.wait())]
        try:
            await asyncio.wait((*upkeep, *ends), return_when=asyncio.FIRST_COMPLETED)
            self._problems["push"] = "draining"
            await self._server.drain(self._settings.drain_seconds)
            for task in upkeep:
                if task.done():
                    task.result()
        finally:
            await end(*upkeep, *ends)
        if self._closed.is_set() and not stop.is_set():
            raise StartupError("NATS closed the connection for good")

    async def close(self) -> None:
        """End all tasks."""
        await self._rooms.close()
        await self._lists.close()
        await self._publishing.close()

    def _publish_metrics(self) -> None:
        REGISTRY.register(self._counters)
        metrics.SOCKETS.set_function(lambda: self._server.sockets)
        metrics.STREAMS.set_function(lambda: self._server.streams)
        metrics.ROOMS.set_function(lambda: len(self._rooms))
        metrics.LISTS.set_function(lambda: len(self._lists))
        metrics.READERS.set_function(lambda: self._rooms.readers)
        metrics.LAGGING_READERS.set_function(lambda: self._rooms.lagging)
