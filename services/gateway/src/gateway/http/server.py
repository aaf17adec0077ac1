"""The HTTP server: uvicorn on a listening socket, within the limits of connections."""

import asyncio
import contextlib
import functools
import socket
import sys
from collections.abc import Generator
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from gateway.errors import StartupError
from gateway.http.connection_limits import Connection, Connections
from gateway.settings import Settings
from parley.runtime import tasks

_BACKLOG = 2048
_MAX_FILES = 65536
_OTHER_FILES = 128
_UNSENT_BYTES = 64 * 1024


class HttpServer:
    """Serves ``app``. The socket listens from the start; requests are answered within :meth:`run`."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Listen.

        Raises:
            StartupError: another program has the port.
        """
        self._listener = bind(settings.host, settings.port)
        self._connections = Connections(settings, min(settings.max_connections, _max_connections()))
        self._server = _Server(
            uvicorn.Config(
                app,
                http=cast(type[asyncio.Protocol], functools.partial(Connection, self._connections)),
                ws="none",
                loop="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                # The middleware reads these headers, and counts proxies as push does.
                proxy_headers=False,
                timeout_graceful_shutdown=settings.shutdown_seconds,
            )
        )

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    async def run(self) -> None:
        """Answer requests until :meth:`stop`; return when those in flight are answered or their time is up."""
        sweeping = asyncio.create_task(self._connections.watch(), name="connections")
        # Without the sweep no timeout would hold: better no server than one without limits.
        sweeping.add_done_callback(lambda _: self.stop())
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            await tasks.end(sweeping)

    def stop(self) -> None:
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # Signals are the life cycle's (parley.runtime.lifecycle).
        yield


def _max_connections() -> int:
    """Raise the limit of open files as far as the system allows, and return how many connections fit below it.

    A stream has two files, its client's and push's. Without a spare one the kernel accepts nobody, not even probes.
    """
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        soft = files
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(8, (soft - _OTHER_FILES) // 2)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket whose port other gateways on this machine may share.

    Raises:
        StartupError: another program has the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # The kernel would buffer megabytes for a stream whose client does not read (accepted sockets inherit it).
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        listener.bind((host, port))
        # Here and not by uvloop, which reports nothing when another socket of the same port already listens.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartupError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with HOST and PORT."
        ) from error
    listener.setblocking(False)
    return listener
