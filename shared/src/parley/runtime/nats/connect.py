"""Connecting to NATS."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypedDict, Unpack
from urllib.parse import urlsplit

from nats.aio.client import DEFAULT_INBOX_PREFIX, Client

from parley.contracts.access.permissions import inbox_prefix
from parley.runtime.nats.client import ReconnectingClient
from parley.runtime.nats.connection_log import ConnectionLog

Hook = Callable[[], Awaitable[None]]

_TOKEN: Final = re.compile(r"[\w-]+", re.ASCII)
"""One token of a subject."""


class Hooks(TypedDict, total=False):
    """Callbacks of a connection.

    Attributes:
        on_closed: The connection is closed for good (a refused password, say): end the process, so that its supervisor
            starts it again.
        on_error: Called with each error, instead of a line in the log.
    """

    on_closed: Hook | None
    on_disconnected: Hook | None
    on_reconnected: Hook | None
    on_error: Callable[[Exception], Awaitable[None]] | None


def connect_options(url: str, name: str, **hooks: Unpack[Hooks]) -> dict[str, Any]:
    """Return the options of a client that reconnects for ever.

    With a user in ``url``, replies arrive in an inbox that only this user may read
    (:mod:`parley.contracts.access.permissions`).
    """
    servers = [server.strip() for server in url.split(",") if server.strip()]
    log = ConnectionLog(servers)

    async def log_error(error: Exception) -> None:
        log.failed(error)

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
        "closed_cb": _log_and_call(log.closed, hooks.get("on_closed")),
        "disconnected_cb": _log_and_call(log.lost, hooks.get("on_disconnected")),
        "reconnected_cb": _log_and_call(log.back, hooks.get("on_reconnected")),
        "error_cb": hooks.get("on_error") or log_error,
    }


def _log_and_call(report: Callable[[], None], hook: Hook | None) -> Hook:
    async def callback() -> None:
        report()
        if hook is not None:
            await hook()

    return callback


async def connect(url: str, *, name: str, **hooks: Unpack[Hooks]) -> Client:
    """Connect to NATS; waits while no server answers yet."""
    client = ReconnectingClient()
    await client.connect(**connect_options(url, name, **hooks))
    return client


async def wait_until_processed(nc: Client) -> None:
    """Return once the server has processed everything that was sent, and its errors have been received.

    nats-py writes the PING of a flush ahead of what is still pending, so the second flush is the one that proves it.
    """
    await nc.flush()
    await nc.flush()
