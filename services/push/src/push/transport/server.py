"""The server of one process, for websockets and streams of events: who may connect, pings for all, and the drain."""

import asyncio
import contextlib
import http
import logging
import math
import re
import socket
from typing import Final

from websockets.http11 import Request

from parley.contracts.frames import CloseCode
from parley.runtime.forwarded import TrustedProxies, group_of
from parley.runtime.settings import below
from push.errors import TooMany
from push.settings import Settings
from push.transport.connection import Connection
from push.transport.event_stream import EventStream
from push.transport.limits import Count, sockets_that_fit
from push.transport.session import Session, SessionContext
from push.transport.websocket import Socket

log = logging.getLogger(__name__)

_PATH: Final = "/ws"
_STREAM_PATH: Final = re.compile(r"/v1/chats/([^/]+)/stream")
_BACKLOG: Final = 4096
_UNSENT: Final = 32 * 1024
_DRAIN_STEP: Final = 0.1
_REFUSED_AT_ONCE: Final = 100
"""Connections over a limit that get a response (HTTP 429 or 503); beyond, they are dropped without one."""


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket that other push processes of this machine may share the port with."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    shared = hasattr(socket, "SO_REUSEPORT")
    # ``::`` is every address, those of IPv4 too, as it is for the gateway.
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    listener = socket.create_server(
        (host, port), family=family, backlog=_BACKLOG, reuse_port=shared, dualstack_ipv6=both
    )
    # The kernel takes megabytes for a reader who does not read. Refusing them (accepted sockets inherit this) leaves
    # the text in the room, where it is one cursor, and makes the write buffer's level the reader's true backlog.
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
    listener.setblocking(False)
    return listener


class Server:
    """Accepts sockets between ``start`` and ``drain``.

    Connections are counted as a whole and by address, from the moment they are accepted. A trusted proxy's connection
    is counted for the client that it names in the handshake.
    """

    def __init__(self, context: SessionContext, settings: Settings) -> None:
        self._context = context
        self._base_path = settings.base_path
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._max_sockets = sockets_that_fit(settings.max_sockets)
        self._max_per_address = settings.max_sockets_per_address
        self._addresses = Count(settings.max_sockets_per_address + _REFUSED_AT_ONCE, "connections")
        self.max_frame_bytes = settings.max_frame_bytes
        self.auth_timeout = settings.auth_timeout
        self._ping_interval = settings.ping_interval
        self._sockets: dict[Connection, None] = {}
        self._server: asyncio.Server | None = None
        self._draining = False
        self._empty = asyncio.Event()
        # Sockets by the slot of the interval in which they are pinged: one timer for all, spread over time.
        self._slots: list[dict[Socket, None]] = [{} for _ in range(max(1, math.ceil(settings.ping_interval)))]
        self._slot = 0

    @property
    def sockets(self) -> int:
        """Connections of both kinds."""
        return len(self._sockets)

    @property
    def streams(self) -> int:
        """Those of them that are streams of events."""
        return sum(isinstance(connection, EventStream) for connection in self._sockets)

    @property
    def port(self) -> int:
        """The port that it listens on (of interest when 0 was asked for)."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, host: str, port: int) -> None:
        """Accept sockets on ``host:port``.

        Raises:
            OSError: the address cannot be used.
        """
        listener = _listen(host, port)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Socket(self), sock=listener, backlog=_BACKLOG
        )

    async def ping(self) -> None:
        """Ping each socket once per interval, until cancelled."""
        pause = self._ping_interval / len(self._slots)
        while True:
            await asyncio.sleep(pause)
            slot = self._slots[self._slot]
            # It wakes next in the slot after this one; newcomers go where the time has just passed.
            self._slot = (self._slot + 1) % len(self._slots)
            for sock in tuple(slot):
                sock.ping()

    async def drain(self, seconds: float) -> None:
        """Accept no more sockets and close the open ones in batches; return when all are closed.

        Clients reconnect elsewhere, with jitter; the batches keep the other processes from being overloaded.
        """
        self._draining = True
        if self._server is not None:
            self._server.close()
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        # Half of the time for the batches, the rest for the closing handshakes.
        steps = max(1, int(seconds / 2 / _DRAIN_STEP))
        batch = max(50, math.ceil(len(self._sockets) / steps))
        leaving = list(self._sockets)
        while leaving:
            for sock in leaving[:batch]:
                sock.close(CloseCode.DRAINING, "draining")
            del leaving[:batch]
            await asyncio.sleep(_DRAIN_STEP if leaving else 0)
        if self._sockets:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(ends - _DRAIN_STEP):
                    await self._empty.wait()
        for sock in tuple(self._sockets):
            sock.abort()
        await asyncio.sleep(0)

    # --- called by connections ---------------------------------------------------------------------------------------

    def admit(self, socket: Socket) -> bool:
        """Count a connection. False: there are too many, and it is dropped."""
        if len(self._sockets) >= self._max_sockets + _REFUSED_AT_ONCE:
            return False
        if not self._proxies.trusts(socket.peer) and not self._count(socket, socket.peer):
            return False
        self._sockets[socket] = None
        self._slots[self._slot - 1][socket] = None
        return True

    def _count(self, connection: Connection, address: str) -> bool:
        group = group_of(address)
        try:
            self._addresses.add(group)
        except TooMany:
            return False
        connection.address = group
        return True

    def hand_over(self, socket: Socket, head: bytes, rest: bytes) -> bool:
        """Serve a request for a stream of events, which HTTP needs no upgrade for. False: it is for something else."""
        target = head.partition(b"\n")[0].partition(b" ")[2].partition(b" ")[0].decode("latin-1")
        found = _STREAM_PATH.fullmatch(below(self._base_path, target.partition("?")[0]))
        if found is None:
            return False
        stream = EventStream(self, self._context, found[1])
        self._forget(socket)
        self._sockets[stream] = None
        stream.take_over(socket)
        stream.data_received(head + rest)
        return True

    def refuse_connection(self, connection: Connection, forwarded_for: list[str]) -> tuple[http.HTTPStatus, str] | None:
        """Return why a request is refused whatever it asks for, or None."""
        if self._draining:
            return http.HTTPStatus.SERVICE_UNAVAILABLE, "Draining.\n"
        if len(self._sockets) > self._max_sockets:
            return http.HTTPStatus.SERVICE_UNAVAILABLE, "This process has as many sockets as it takes.\n"
        if self._too_many_of_address(connection, forwarded_for):
            return http.HTTPStatus.TOO_MANY_REQUESTS, "There are too many sockets from this address.\n"
        return None

    def refuse(self, socket: Socket, request: Request) -> tuple[http.HTTPStatus, str] | None:
        """Return why a handshake is refused, or None."""
        refusal = self.refuse_connection(socket, request.headers.get_all("X-Forwarded-For"))
        if refusal is not None:
            return refusal
        if below(self._base_path, request.path.partition("?")[0]) != _PATH:
            return http.HTTPStatus.NOT_FOUND, f"The websocket is at {_PATH}.\n"
        origins = request.headers.get_all("Origin")
        hosts = request.headers.get_all("Host")
        if len(origins) > 1 or not self._context.origins.allow(
            origins[0] if origins else None, hosts[0] if len(hosts) == 1 else None
        ):
            return http.HTTPStatus.FORBIDDEN, "Pages of this origin may not connect.\n"
        return None

    def _too_many_of_address(self, connection: Connection, forwarded_for: list[str]) -> bool:
        if connection.address is None:
            client = self._proxies.client(connection.peer, forwarded_for)
            if client is None:
                return False
            if not self._count(connection, client):
                return True
        assert connection.address is not None
        return self._addresses.of(connection.address) > self._max_per_address

    def open(self, socket: Socket) -> Session:
        return Session(self._context, socket)

    def closed(self, connection: Connection) -> None:
        self._forget(connection)
        if connection.address is not None:
            self._addresses.remove(connection.address)
        if not self._sockets:
            self._empty.set()

    def _forget(self, connection: Connection) -> None:
        self._sockets.pop(connection, None)
        if isinstance(connection, Socket):
            for slot in self._slots:
                if slot.pop(connection, connection) is None:
                    break
