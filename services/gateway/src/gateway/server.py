"""Serving: the socket, uvicorn, and the order in which things end."""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Generator

import uvicorn

from gateway.app import build_app, build_gateway
from gateway.bus import BusClosed
from gateway.context import Gateway
from gateway.settings import Settings
from parley.runtime.bus import NotProvisioned
from parley.runtime.health import CannotListen, HealthServer

log = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 75
"""Longer than the usual idle time of a proxy, so that it is the proxy who closes: it would otherwise now and then send
a request into a connection that we have just closed."""

_BACKLOG = 2048
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
    server = _Server(
        uvicorn.Config(
            build_app(gateway),
            http="httptools",
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            forwarded_allow_ips=settings.forwarded_allow_ips,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
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
            await _run(gateway, server, listener, stop)
        except NotProvisioned as error:
            raise StreamMissing(str(error)) from error
        except BusClosed as error:
            raise CannotServe(str(error)) from error


async def _run(gateway: Gateway, server: uvicorn.Server, listener: socket.socket, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set or the connection to NATS cannot be; raises what kept it from being."""
    bus = asyncio.create_task(gateway.bus.run(), name="bus")
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait((bus, serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        # Streams never end by themselves, so they go first; then what is in flight has its time.
        gateway.bridges.close()
        server.should_exit = True
        await serving
        bus.cancel()
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
