"""Connecting to NATS."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import DEFAULT_INBOX_PREFIX, Client

from parley.contracts.permissions import inbox_prefix
from parley.runtime.nats.client import ReconnectingClient
from parley.runtime.nats.connection_log import ConnectionLog

Hook = Callable[[], Awaitable[None]]

_TOKEN = re.compile(r"[\w-]+", re.ASCII)
"""One token of a subject."""


def connect_options(
    url: str,
    name: str,
    *,
    on_closed: Hook | None = None,
    on_disconnected: Hook | None = None,
    on_reconnected: Hook | None = None,
    on_error: Callable[[Exception], Awaitable[None]] | None = None,
) -> dict[str, Any]:
    """Return the options of a connection that reconnects for ever, for a client and for ``NatsBroker``.

    A connection that is closed all the same (a refused password, say) will not come back by itself: ``on_closed``
    must end the process, so that its supervisor starts it again.

    With a user in ``url``, replies arrive in an inbox that only this user may read
    (:mod:`parley.contracts.permissions`).

    Args:
        on_error: Instead of a line in the log.
    """
    servers = [server.strip() for server in url.split(",") if server.strip()]
    lines = ConnectionLog(servers)

    async def closed() -> None:
        lines.closed()
        if on_closed is not None:
            await on_closed()

    async def disconnected() -> None:
        lines.lost()
        if on_disconnected is not None:
            await on_disconnected()

    async def reconnected() -> None:
        lines.back()
        if on_reconnected is not None:
            await on_reconnected()

    async def failed(error: Exception) -> None:
        if on_error is not None:
            await on_error(error)
        else:
            lines.failed(error)

    user = next((parts.username for parts in map(urlsplit, servers) if parts.username and parts.password), "")
    return {
        "servers": servers,
        "name": name,
        "inbox_prefix": inbox_prefix(user) if _TOKEN.fullmatch(user) else DEFAULT_INBOX_PREFIX,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.25,
        "connect_timeout": 2,
        "ping_interval": 5,
        "max_outstanding_pings": 2,
        "pending_size": 64 * 1024 * 1024,
        "closed_cb": closed,
        "disconnected_cb": disconnected,
        "reconnected_cb": reconnected,
        "error_cb": failed,
    }


def use_client(broker: Any, options: Mapping[str, Any]) -> None:
    """Let a FastStream broker connect as :func:`connect` does, with ``options``.

    Its own way (0.7) makes nats-py's client, and wraps ``error_cb`` in one that raises a refused password within it:
    the task that connects ends with that, at the start of a process with a traceback, later silently and for ever.
    """

    async def connected() -> Client:
        client = await _connected(options)
        broker.config.connect(client)
        return client

    broker._connect = connected


async def connect(
    url: str,
    *,
    name: str,
    on_closed: Hook | None = None,
    on_disconnected: Hook | None = None,
    on_reconnected: Hook | None = None,
    on_error: Callable[[Exception], Awaitable[None]] | None = None,
) -> Client:
    """Connect to NATS; waits while no server answers yet."""
    return await _connected(
        connect_options(
            url,
            name,
            on_closed=on_closed,
            on_disconnected=on_disconnected,
            on_reconnected=on_reconnected,
            on_error=on_error,
        )
    )


async def _connected(options: Mapping[str, Any]) -> Client:
    client = ReconnectingClient()
    await client.connect(**options)
    return client


async def wait_until_processed(nc: Client) -> None:
    """Return once the server has handled all that was sent, and what it said of that was received.

    nats-py writes the PING of a flush ahead of what is still pending; so it is the second one that says so.
    """
    await nc.flush()
    await nc.flush()
