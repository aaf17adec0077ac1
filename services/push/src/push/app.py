"""The composition root: builds push from its settings and runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from parley.runtime.forwarded import TrustedProxies
from parley.runtime.health import CannotListen, HealthServer
from parley.runtime.tasks import end, unless
from push import metrics
from push.bus.connection import Bus
from push.errors import Unable
from push.rooms.chat_lists import Lists
from push.rooms.readers import Counters
from push.rooms.registry import Rooms, Timing
from push.settings import Settings
from push.tasks import Tasks
from push.transport.limits import sockets_that_fit
from push.transport.origins import Origins
from push.transport.server import Server
from push.transport.session import SessionContext
from push.transport.tickets import Tickets

__all__ = ["run"]

log = logging.getLogger(__name__)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve sockets until ``stop`` is set, then send them elsewhere and return.

    Raises:
        Unable: the address is taken, or NATS closed the connection for good.
    """
    problems = {"nats": "not connected yet"}
    closed = asyncio.Event()
    rooms: Rooms | None = None
    lists: Lists | None = None

    async def on_reconnected() -> None:
        if rooms is not None:
            await rooms.reconnected()
        if lists is not None:
            lists.reconnected()

    async def on_closed() -> None:
        closed.set()

    async def ready() -> dict[str, str]:
        if not problems and not bus.connected:
            return {"nats": "not connected"}
        return problems

    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(HealthServer(settings.health_host, settings.health_port, ready))
        except CannotListen as error:
            raise Unable(str(error)) from error
        connecting = Bus.connect(settings.nats_url, on_reconnected=on_reconnected, on_closed=on_closed)
        connected = await unless(stop, connecting)
        if connected is None:
            return
        bus = connected
        stack.push_async_callback(bus.close)
        counters = Counters()
        rooms = Rooms(bus, counters, Timing(quiet=settings.silence_seconds, check=settings.check_seconds))
        lists = Lists(bus)
        words = Tasks()
        stack.push_async_callback(words.close)
        tickets = Tickets(lambda used: words.start(bus.tell_used(used)))
        await bus.follow_tickets(tickets.on_used)
        context = SessionContext(
            rooms,
            lists,
            tickets,
            secret_key=settings.secret_key,
            cookie=settings.cookie_name,
            origins=Origins(settings.allowed_origins),
            max_sockets_per_user=settings.max_sockets_per_user,
            max_chats_per_user=settings.max_chats_per_user,
            max_chats_per_socket=settings.max_chats_per_socket,
            frames_per_second=settings.frames_per_second,
            frames_burst=settings.frames_burst,
        )

        await bus.follow_rejections(context.on_rejected)

        max_sockets = sockets_that_fit(settings.max_sockets)
        if max_sockets < settings.max_sockets:
            log.warning("Taking %d sockets and not MAX_SOCKETS: the system allows no more open files", max_sockets)
        server = Server(
            context,
            proxies=TrustedProxies(settings.trusted_proxies),
            max_sockets=max_sockets,
            max_sockets_per_address=settings.max_sockets_per_address,
            max_frame_bytes=settings.max_frame_bytes,
            auth_timeout=settings.auth_timeout,
            ping_interval=settings.ping_interval,
            base_path=settings.base_path,
        )
        metrics.publish(
            counters,
            sockets=lambda: server.sockets,
            streams=lambda: server.streams,
            rooms=lambda: len(rooms),
            lists=lambda: len(lists),
            readers=lambda: rooms.readers,
            lagging=lambda: rooms.lagging,
        )
        try:
            await server.start(settings.host, settings.port)
        except OSError as error:
            raise Unable(f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}") from error
        log.info("Listening on ws://%s:%d/ws", settings.host, server.port)
        problems.clear()

        upkeep = [asyncio.create_task(work) for work in (rooms.watch_clock(), rooms.check_versions(), server.ping())]
        ends = [asyncio.create_task(stop.wait()), asyncio.create_task(closed.wait())]
        try:
            await asyncio.wait((*upkeep, *ends), return_when=asyncio.FIRST_COMPLETED)
            problems["push"] = "draining"
            await server.drain(settings.drain_seconds)
            for task in upkeep:
                if task.done():
                    task.result()
        finally:
            await end(*upkeep, *ends)
            await rooms.close()
            await lists.close()
        if closed.is_set() and not stop.is_set():
            raise Unable("NATS closed the connection for good")
