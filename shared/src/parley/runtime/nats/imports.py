"""Importing nats-py without its websocket client."""

import sys
from typing import Final

_WEBSOCKET_CLIENT: Final = "aiohttp"


def import_nats(nats_url: str) -> None:
    """Import nats-py; without aiohttp, unless a server of ``nats_url`` is at ``ws://`` or ``wss://``.

    aiohttp is an option of nats-py, which imports it wherever it is installed: 0.1 to 0.2 s of CPU at each start. Call
    this before anything else imports nats-py.
    """
    wanted = any(server.strip().lower().startswith(("ws://", "wss://")) for server in nats_url.split(","))
    if wanted or _WEBSOCKET_CLIENT in sys.modules:
        return
    # None in place of a module: its import raises ModuleNotFoundError, as where it is not installed.
    sys.modules[_WEBSOCKET_CLIENT] = None  # type: ignore[assignment]
    try:
        import nats.aio.transport  # noqa: F401
    finally:
        del sys.modules[_WEBSOCKET_CLIENT]
