"""Serving: the socket, uvicorn, and the order in which things end."""

import asyncio
import contextlib
import functools
import logging
import socket
import sys
from collections.abc import Generator
from typing import cast

import uvicorn

from gateway.app import build_app, build_gateway
from gateway.bus.connection import BusClosed
from gateway.context import Gateway
from gateway.http.connection_limits import Connection, ConnectionLimits, Connections
from gateway.settings import Settings
from parley.runtime.health import CannotListen, HealthServer
from parley.runtime.nats.bus import NotProvisioned

log = logging.getLogger(__name__)

_BACKLOG = 2048
_MOST_FILES = 65536
_OTHER_FILES = 128
_UNSENT = 64 * 1024
_BUS_SECONDS = 3.0


class CannotServe(Exception):
    """The process has to end; the text says why, for a person."""

    exit_code = 1


class StreamMissing(CannotServe):
    """A stream is not there, or not as we need it."""

    exit_code = 3


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # Signals are the life cycle's (parley.runtime.lifecycle).
        yield


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set; then finish what is under way and return.

    Raises:
        CannotServe: the port is taken, a stream is missing, or NATS ended the connection.
    """
    listener = bind(settings.host, settings.port)
    gateway = build_gateway(settings)
    connections = Connections(_limits(settings))
    server = _Server(
        uvicorn.Config(
            build_app(gateway),
            http=cast(type[asyncio.Protocol], functools.partial(Connection, connections)),
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            # Ours (gateway.http.middleware), counted as push counts.
            proxy_headers=False,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )
    )
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(HealthServer(settings.health_host, settings.health_port, gateway.problems))
        except CannotListen as error:
            raise CannotServe(str(error)) from error
        log.info("Listening on http://%s:%d", settings.host, listener.getsockname()[1])
        try:
            await _run(gateway, server, connections, listener, stop)
        except NotProvisioned as error:
            raise StreamMissing(str(error)) from error
        except BusClosed as error:
            raise CannotServe(str(error)) from error


def _limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(
        max_connections=min(settings.max_connections, _spare_files()),
        max_connections_per_address=settings.max_connections_per_address,
        head_seconds=settings.head_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        write_seconds=settings.write_seconds,
        trusted=settings.proxies,
    )


def _spare_files() -> int:
    """Raise the limit of open files as far as it may be, and return how many connections fit below it.

    A stream has two files, its client's and push's. Without one to spare, the kernel accepts nobody, not even probes.
    """
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        soft = files
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(8, (soft - _OTHER_FILES) // 2)


async def _run(
    gateway: Gateway,
    server: uvicorn.Server,
    connections: Connections,
    listener: socket.socket,
    stop: asyncio.Event,
) -> None:
    """Run until ``stop`` is set or the connection to NATS cannot be; raises what kept it from being."""
    bus = asyncio.create_task(gateway.bus.run(), name="bus")
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    watching = asyncio.create_task(connections.watch(), name="connections")
    try:
        await asyncio.wait((bus, serving, stopping, watching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        # Streams never end by themselves, so they go first; then what is in flight has its time.
        gateway.bridges.close()
        server.should_exit = True
        await serving
        bus.cancel()
        watching.cancel()
    # Bounded: a client that is connecting can lose the cancellation, and the life cycle repeats it.
    await asyncio.wait((bus,), timeout=_BUS_SECONDS)
    if bus.done() and not bus.cancelled():
        bus.result()


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket that other gateways on this machine may share.

    Raises:
        CannotServe: somebody else has the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # The kernel would keep megabytes for a reader of a stream who does not read (accepted sockets inherit it).
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        listener.bind((host, port))
        # Here and not by uvloop, which says nothing when another socket of the same port already listens.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotServe(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with HOST and PORT."
        ) from error
    listener.setblocking(False)
    return listener
