"""The composition root: builds push from its settings and runs it."""

import asyncio
import contextlib
import logging

from parley.contracts import subjects
from parley.runtime.forwarded import TrustedProxies
from parley.runtime.health import CannotListen, HealthServer
from parley.runtime.tasks import Tasks, end, unless
from push import metrics
from push.bus.connection import Bus
from push.bus.request_limiter import RequestLimiter
from push.errors import StartupError
from push.rooms.chat_lists import ChatLists
from push.rooms.readers import Counters
from push.rooms.registry import Rooms, Timing
from push.settings import Settings
from push.transport.identities import Identities
from push.transport.limits import sockets_that_fit
from push.transport.origins import Origins
from push.transport.server import Server
from push.transport.session import SessionContext
from push.transport.tickets import Tickets

log = logging.getLogger(__name__)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve sockets until ``stop`` is set, then send them elsewhere and return.

    Raises:
        StartupError: the address is taken, or NATS closed the connection for good.
    """
    closed = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        push = Push(settings, closed)
        try:
            await stack.enter_async_context(HealthServer(settings.health_host, settings.health_port, push.problems))
        except CannotListen as error:
            raise StartupError(str(error)) from error
        connecting = Bus.connect(settings.nats_url, on_reconnected=push.on_reconnected, on_closed=push.on_closed)
        bus = await unless(stop, connecting)
        if bus is None:
            return
        stack.push_async_callback(bus.close)
        stack.push_async_callback(push.close)
        await push.start(bus)
        await push.serve(stop)
        if closed.is_set() and not stop.is_set():
            raise StartupError("NATS closed the connection for good")


class Push:
    """One push process: its parts, and the tasks that belong to it."""

    def __init__(self, settings: Settings, closed: asyncio.Event) -> None:
        self._settings = settings
        self._closed = closed
        self._problems = {"nats": "not connected yet"}
        self._publishing = Tasks()
        self._bus: Bus | None = None
        self._rooms: Rooms | None = None
        self._lists: ChatLists | None = None
        self._identities: Identities | None = None
        self._server: Server | None = None

    async def problems(self) -> dict[str, str]:
        """What keeps this process from being ready, by name."""
        if not self._problems and self._bus is not None and not self._bus.connected:
            return {"nats": "not connected"}
        return self._problems

    async def on_reconnected(self) -> None:
        if self._rooms is not None:
            await self._rooms.reconnected()
        if self._lists is not None:
            self._lists.reconnected()
        if self._identities is not None:
            self._identities.reconnected()

    async def on_closed(self) -> None:
        self._closed.set()

    async def start(self, bus: Bus) -> None:
        """Build the parts and listen.

        Raises:
            StartupError: the address is taken.
        """
        settings = self._settings
        counters = Counters()
        self._bus = bus
        self._rooms = Rooms(bus, counters, Timing(quiet=settings.silence_seconds, check=settings.check_seconds))
        self._lists = ChatLists(bus)
        tickets = Tickets(lambda used: self._publishing.start(bus.publish_used_ticket(used)))
        await bus.subscribe(subjects.CTL_TICKET_USED, tickets.on_used)
        self._identities = Identities(RequestLimiter(bus, 1))
        await bus.subscribe(subjects.CTL_IDENTITY_REVOKED, self._identities.on_revoked)
        context = SessionContext(
            self._rooms,
            self._lists,
            tickets,
            self._identities,
            keys=settings.key_ring,
            origins=Origins(settings.allowed_origins),
            max_sockets_per_user=settings.max_sockets_per_user,
            max_chats_per_user=settings.max_chats_per_user,
            max_chats_per_socket=settings.max_chats_per_socket,
            frames_per_second=settings.frames_per_second,
            frames_burst=settings.frames_burst,
        )
        await bus.subscribe(subjects.ANY_LIVE_REJECTED, context.on_rejected)
        self._server = server = self._new_server(context)
        self._publish_metrics(counters, self._rooms, self._lists, server)
        try:
            await server.start(settings.host, settings.port)
        except OSError as error:
            raise StartupError(
                f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}"
            ) from error
        log.info("Listening on ws://%s:%d/ws", settings.host, server.port)
        self._problems.clear()

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set or NATS is closed, then drain."""
        rooms, server, identities = self._rooms, self._server, self._identities
        assert rooms is not None
        assert server is not None
        assert identities is not None
        work = (rooms.watch_clock(), rooms.check_versions(), server.ping(), identities.watch())
        upkeep = [asyncio.create_task(one) for one in work]
        ends = [asyncio.create_task(stop.wait()), asyncio.create_task(self._closed.wait())]
        try:
            await asyncio.wait((*upkeep, *ends), return_when=asyncio.FIRST_COMPLETED)
            self._problems["push"] = "draining"
            await server.drain(self._settings.drain_seconds)
            for task in upkeep:
                if task.done():
                    task.result()
        finally:
            await end(*upkeep, *ends)

    async def close(self) -> None:
        """End all tasks."""
        if self._rooms is not None:
            await self._rooms.close()
        if self._lists is not None:
            await self._lists.close()
        await self._publishing.close()

    def _new_server(self, context: SessionContext) -> Server:
        settings = self._settings
        max_sockets = sockets_that_fit(settings.max_sockets)
        if max_sockets < settings.max_sockets:
            log.warning("Taking %d sockets and not MAX_SOCKETS: the system allows no more open files", max_sockets)
        return Server(
            context,
            proxies=TrustedProxies(settings.trusted_proxies),
            max_sockets=max_sockets,
            max_sockets_per_address=settings.max_sockets_per_address,
            max_frame_bytes=settings.max_frame_bytes,
            auth_timeout=settings.auth_timeout,
            ping_interval=settings.ping_interval,
            base_path=settings.base_path,
        )

    def _publish_metrics(self, counters: Counters, rooms: Rooms, lists: ChatLists, server: Server) -> None:
        metrics.publish(
            counters,
            sockets=lambda: server.sockets,
            streams=lambda: server.streams,
            rooms=lambda: len(rooms),
            lists=lambda: len(lists),
            readers=lambda: rooms.readers,
            lagging=lambda: rooms.lagging,
        )
