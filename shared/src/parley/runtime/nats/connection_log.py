"""The log of a connection to NATS: each problem with its fix, once, not with every attempt."""

import asyncio
import logging
import re
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import nats.errors

from parley.runtime.server_urls import without_credentials

log = logging.getLogger(__name__)

REPEAT_AFTER: Final = 10.0
"""Seconds after which a problem that persists is logged again."""

REPEAT_PERMISSION_AFTER: Final = 600.0
"""The same for a missing permission, which does not come by itself."""

_MAX_SENTENCES: Final = 100
_LACKING: Final = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.I)
_VERBS: Final = {"publish": "publish to", "subscription": "subscribe to"}
_ONE_OF_MANY: Final = re.compile(r"[0-9a-f-]{36}|\d+|\w{20,}", re.ASCII | re.I)
"""A token of a subject that is an id, a number or a reply's."""
_REFUSED: Final = ("authorization violation", "authentication")


class ConnectionLog:
    """The log of one connection.

    Args:
        servers: Their URLs; the log names the user and never the password.
    """

    def __init__(self, servers: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        parts = [urlsplit(server if "://" in server else f"//{server}") for server in servers]
        self._where = without_credentials(",".join(servers))
        self._user = next((part.username for part in parts if part.username), None) or "nobody in particular"
        self._clock = clock
        self._logged: dict[str, float] = {}
        self._closed = False

    def lost(self) -> None:
        """The connection is lost; the client reconnects, unless it is being closed."""
        # The client reports an orderly close in the same way, and only then that it is one.
        asyncio.get_running_loop().call_soon(self._warn, "Lost the connection to NATS; reconnecting")

    def back(self) -> None:
        """The connection is re-established."""
        self._logged.clear()
        log.info("Connected to NATS again")

    def failed(self, error: Exception) -> None:
        """An attempt to connect, or the connection, failed with ``error``."""
        if isinstance(error, nats.errors.UnexpectedEOF | nats.errors.StaleConnectionError):
            return  # reported as lost
        sentence = self._sentence(error)
        now = self._clock()
        every = REPEAT_PERMISSION_AFTER if _LACKING.search(str(error)) else REPEAT_AFTER
        if now - self._logged.get(sentence, -every) < every:
            log.debug("NATS: %r", error)
            return
        if len(self._logged) >= _MAX_SENTENCES:
            self._logged.clear()
        self._logged[sentence] = now
        asyncio.get_running_loop().call_soon(self._warn, sentence)

    def closed(self) -> None:
        """The connection is closed for good; pending lines are dropped."""
        self._closed = True

    def _warn(self, sentence: str) -> None:
        if not self._closed:
            log.warning("%s", sentence)

    def _sentence(self, error: Exception) -> str:
        reason = str(error) or type(error).__name__
        if (right := _LACKING.search(reason)) is not None:
            return (
                f"NATS at {self._where} does not allow the user {self._user} to {_VERBS[right[1].lower()]} "
                f"{_template(right[2])}. Render the server's users anew (deploy/nats/README.md) and let it read them: "
                "nats-server --signal reload"
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"The certificate of NATS at {self._where} is refused: {error.verify_message}. Set SSL_CERT_FILE to a "
                "file with the certificate of its authority; trying again"
            )
        if any(word in reason.lower() for word in _REFUSED):
            return (
                f"NATS at {self._where} refuses the user or the password ({self._user}). Set NATS_URL to "
                "nats://USER:PASSWORD@HOST:PORT as the server's configuration has them; trying again"
            )
        if isinstance(error, ConnectionResetError | BrokenPipeError):
            # The client writes on while the server refuses it, and then often loses the server's error.
            return (
                f"NATS at {self._where} closes the connection: {reason}. If that persists, look at its log; a refused "
                f"user or password ({self._user}) may look the same; trying again"
            )
        if isinstance(error, OSError | TimeoutError):
            return f"NATS does not answer at {self._where}: {reason}. Start it, or set NATS_URL; trying again"
        return f"NATS: {reason}"


def _template(subject: str) -> str:
    """The subject with a ``*`` for what differs from message to message, so that one lacking right is one sentence."""
    return ".".join("*" if _ONE_OF_MANY.fullmatch(token) else token for token in subject.split("."))
