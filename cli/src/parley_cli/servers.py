"""Connections of the operator's commands to NATS and Postgres: with a timeout, and errors for people.

Unlike those of a service they do not reconnect: the command fails when its server goes away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import nats.errors
from nats.aio.client import Client

from parley.contracts.streams import CHAT
from parley.runtime.nats.client import ReconnectingClient
from parley.runtime.nats.connect import connect_options
from parley.runtime.server_urls import FORMS, UrlSetting, check_server_url, without_credentials

CONNECT_TIMEOUT: Final = 5.0
_CLOSE_TIMEOUT: Final = 2.0
_NATS_TRIES_TIMEOUT: Final = 3.0
_RESET_TRIES: Final = 5


class ServerUnusable(Exception):
    """A server cannot be used. ``str()`` is the problem and its fix.

    Attributes:
        transient: A retry can help: a server that starts or is busy fails in the same way.
    """

    def __init__(self, text: str, fix: str = "", *, transient: bool = False) -> None:
        super().__init__(f"{text} {fix}".strip())
        self.text = text
        self.fix = fix
        self.transient = transient


def check_url(setting: UrlSetting, url: str) -> None:
    """Return when ``url`` can be an address of the server that ``setting`` names.

    Raises:
        ServerUnusable: It cannot. The message does not contain the password.
    """
    try:
        check_server_url(setting, url)
    except ValueError as error:
        raise ServerUnusable(f"{setting} {error}.") from None


# --- Postgres ------------------------------


@contextlib.asynccontextmanager
async def postgres(url: str, name: str, **options: Any) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection. ``name`` is shown by the server; ``options`` are those of ``asyncpg.connect``.

    Raises:
        ServerUnusable: On entering.
    """
    check_url("DATABASE_URL", url)
    settings = {"application_name": name, **options.pop("server_settings", {})}
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT, server_settings=settings, **options)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise _unusable_postgres(url, error) from error
    try:
        yield connection
    finally:
        try:
            await connection.close(timeout=_CLOSE_TIMEOUT)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()


def _unusable_postgres(url: str, error: Exception) -> ServerUnusable:
    where = without_credentials(url)
    reason = " ".join((str(error) or type(error).__name__).split())
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return ServerUnusable(
                f"Postgres at {where} refuses the role or the password: {reason}.",
                f"Set DATABASE_URL to {FORMS['DATABASE_URL']} as they are on the server.",
            )
        case asyncpg.InvalidCatalogNameError():
            return ServerUnusable(
                f"Postgres at {where} has no such database: {reason}.",
                "Create it (CREATE DATABASE …), or correct the end of DATABASE_URL.",
            )
        case asyncpg.TooManyConnectionsError():
            return ServerUnusable(
                f"Postgres at {where} accepts no more connections: {reason}.",
                "Raise max_connections, or lower DATABASE_POOL_SIZE of chat-store.",
                transient=True,
            )
        case ValueError() if not isinstance(error, OSError):
            return ServerUnusable(
                f"DATABASE_URL cannot be read: {reason}.", f"It has the form {FORMS['DATABASE_URL']}."
            )
        case _:
            return ServerUnusable(
                f"Postgres does not answer at {where}: {reason}",
                "Start it, or set DATABASE_URL to where it is. A firewall or a wrong port looks the same.",
                transient=True,
            )


async def postgres_version(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    """Return the server's own version string: asyncpg parses 15.18 incorrectly."""
    return str(await connection.fetchval("SHOW server_version")).split()[0]


# --- NATS ------------------------------


@contextlib.asynccontextmanager
async def nats_client(
    url: str, name: str, *, on_error: Callable[[Exception], Awaitable[None]] | None = None
) -> AsyncIterator[Client]:
    """A connection.

    Args:
        on_error: Called with later errors of the server.

    Raises:
        ServerUnusable: On entering.
    """
    check_url("NATS_URL", url)
    last: list[Exception] = []

    async def failed(error: Exception) -> None:
        last[:] = [error]
        if on_error is not None:
            await on_error(error)

    options = connect_options(url, name, on_error=failed)
    options |= {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0.05}
    options |= {"connect_timeout": _NATS_TRIES_TIMEOUT, "disconnected_cb": None}
    for tries_left in reversed(range(_RESET_TRIES)):
        client = ReconnectingClient()
        try:
            async with asyncio.timeout(3 * _NATS_TRIES_TIMEOUT):
                await client.connect(**options)
            break
        except Exception as error:
            await _close(client)
            cause = last[0] if last else error
            # A server sends the reason of a refusal and closes; a client that still writes then can miss it.
            if not (tries_left and isinstance(cause, ConnectionResetError | BrokenPipeError)):
                raise _unusable_nats(url, cause) from error
    try:
        yield client
    finally:
        await _close(client)


async def _close(client: Client) -> None:
    with contextlib.suppress(TimeoutError, OSError, nats.errors.Error):
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await client.close()
    if (transport := client._transport) is not None:
        transport.close()  # type: ignore[no-untyped-call]  # of a connection that was refused, which the client forgets


def _unusable_nats(url: str, error: Exception) -> ServerUnusable:
    where = without_credentials(url)
    reason = " ".join((str(error) or type(error).__name__).split())
    if "authorization" in reason.lower() or "authentication" in reason.lower():
        user = urlsplit(url.split(",")[0]).username or "no user"
        return ServerUnusable(
            f"NATS at {where} refuses the user or the password ({user}).",
            f"Set NATS_URL to {FORMS['NATS_URL']} as the server's configuration has them.",
            transient=True,
        )
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return ServerUnusable(
            f"NATS at {where} closes the connection: {reason}.",
            "Look at its log: a refused user or password can look like this.",
            transient=True,
        )
    return ServerUnusable(
        f"NATS does not answer at {where}: {reason}",
        "Start it, or set NATS_URL to where it is. A firewall or a wrong port looks the same.",
        transient=True,
    )


def nats_version(client: Client) -> str:
    version = client.connected_server_version
    return f"{version.major}.{version.minor}.{version.patch}"


async def check_jetstream(client: Client) -> None:
    """Return unless JetStream is off: other errors are reported elsewhere.

    Raises:
        ServerUnusable
    """
    try:
        await client.request(f"$JS.API.STREAM.INFO.{CHAT.name}", b"", timeout=_NATS_TRIES_TIMEOUT)
    except nats.errors.NoRespondersError:
        raise ServerUnusable(
            "JetStream is off.",
            "Start nats-server with a `jetstream` block (deploy/nats/nats-server.conf) or --jetstream.",
            transient=bool(client._server_info.get("jetstream")),  # on, and its cluster not yet ready
        ) from None
    except (TimeoutError, nats.errors.Error):
        pass
