"""A small HTTP server for probes and metrics.

``/healthz`` reports that the process runs; it checks nothing else, or an outage of NATS or Postgres would restart every
process. ``/readyz`` reports whether its dependencies answer, and the time by the clock here (seconds since the epoch),
which the doctor compares. ``/metrics`` is for Prometheus.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from types import TracebackType

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from parley.runtime import tasks

log = logging.getLogger(__name__)

Ready = Callable[[], Awaitable[dict[str, str]]]
"""Returns what keeps the process from being ready: a sentence by name of the dependency; empty when ready."""

_READ_TIMEOUT = 5.0


class CannotListen(Exception):
    """HEALTH_PORT cannot be used; the message names the reason."""


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # It listens before the event loop has it: uvloop reports a failed bind, but not a failed listen.
        return socket.create_server((str(address[0]), port), family=family)
    except OSError as error:
        raise CannotListen(f"Cannot listen on HEALTH_PORT {port} of {host}: {error.strerror or error}.") from error


class HealthServer:
    """Serves probes on ``host:port`` between ``async with`` and its end. Without a port it does nothing.

    Raises:
        CannotListen: On entering.
    """

    def __init__(self, host: str, port: int | None, ready: Ready) -> None:
        self._host = host
        self._port = port
        self._ready = ready
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int | None:
        """The port that it listens on (of interest when 0 was asked for)."""
        if self._server is None:
            return None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> "HealthServer":
        if self._port is not None:
            listener = _listen(self._host, self._port)
            self._server = await asyncio.start_server(self._accept, sock=listener, limit=16 * 1024)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await tasks.end(*self._serving)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: that of asyncio's streams logs a traceback when it is cancelled (until Python 3.12).
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # One request per connection: probes and scrapers come seldom, and nothing can linger.
        try:
            async with asyncio.timeout(_READ_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
            method, _, rest = head.decode("latin-1").partition(" ")
            status, content_type, body = await self._answer(method, rest.partition(" ")[0].partition("?")[0])
            writer.write(
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            )
            if method != "HEAD":
                writer.write(body)
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        except Exception:
            log.exception("A probe failed")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, method: str, path: str) -> tuple[int, str, bytes]:
        if method not in ("GET", "HEAD"):
            return 405, "text/plain", b"only GET\n"
        match path:
            case "/healthz":
                return 200, "text/plain", b"ok\n"
            case "/readyz":
                problems = await self._ready()
                body = msgspec.json.encode({"ready": not problems, "problems": problems, "time": time.time()})
                return 503 if problems else 200, "application/json", body
            case "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest()
            case _:
                return 404, "text/plain", b"not found\n"
