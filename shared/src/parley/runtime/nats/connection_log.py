"""What a connection to NATS says of itself: what is wrong and what to do about it, and not with every try."""

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

EVERY: Final = 10.0
"""Seconds after which a trouble that lasts is said again."""

EVERY_RIGHT: Final = 600.0
"""The same for a right that a user lacks: that does not pass by itself."""

_MOST: Final = 100
_LACKING: Final = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.I)
_VERBS: Final = {"publish": "publish to", "subscription": "subscribe to"}
_ONE_OF_MANY: Final = re.compile(r"[0-9a-f-]{36}|\d+|\w{20,}", re.ASCII | re.I)
"""A token of a subject that is an id, a number or a reply's."""
_REFUSED: Final = ("authorization violation", "authentication")


class ConnectionLog:
    """The log of one connection.

    Args:
        servers: Their URLs; of a user only the name is told, of a password nothing.
    """

    def __init__(self, servers: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        parts = [urlsplit(server if "://" in server else f"//{server}") for server in servers]
        self._where = without_credentials(",".join(servers))
        self._user = next((part.username for part in parts if part.username), None) or "nobody in particular"
        self._clock = clock
        self._said: dict[str, float] = {}
        self._closed = False

    def lost(self) -> None:
        """The connection is gone; the client makes a new one, unless it is being closed."""
        # The client reports the same of an orderly close, and only then that it is one.
        asyncio.get_running_loop().call_soon(self._warn, "Lost the connection to NATS; reconnecting")

    def back(self) -> None:
        """There is a connection again."""
        self._said.clear()
        log.info("Connected to NATS again")

    def failed(self, error: Exception) -> None:
        """Something went wrong, with a try to connect or on the connection."""
        if isinstance(error, nats.errors.UnexpectedEOF | nats.errors.StaleConnectionError):
            return  # it is lost
        sentence = self._sentence(error)
        now = self._clock()
        every = EVERY_RIGHT if _LACKING.search(str(error)) else EVERY
        if now - self._said.get(sentence, -every) < every:
            log.debug("NATS: %r", error)
            return
        if len(self._said) >= _MOST:
            self._said.clear()
        self._said[sentence] = now
        asyncio.get_running_loop().call_soon(self._warn, sentence)

    def closed(self) -> None:
        """It is closed for good; what is not said yet is not worth saying."""
        self._closed = True

    def _warn(self, sentence: str) -> None:
        if not self._closed:
            log.warning("%s", sentence)

    def _sentence(self, error: Exception) -> str:
        said = str(error) or type(error).__name__
        if (right := _LACKING.search(said)) is not None:
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
        if any(word in said.lower() for word in _REFUSED):
            return (
                f"NATS at {self._where} refuses the user or the password ({self._user}). Set NATS_URL to "
                "nats://USER:PASSWORD@HOST:PORT as the server's configuration has them; trying again"
            )
        if isinstance(error, ConnectionResetError | BrokenPipeError):
            # The client writes on while the server refuses it: then its word is lost as often as not.
            return (
                f"NATS at {self._where} breaks the connection off: {said}. If that goes on, look at its log; a user or "
                f"a password that it refuses ({self._user}) looks like this, too; trying again"
            )
        if isinstance(error, OSError | TimeoutError):
            return f"NATS does not answer at {self._where}: {said}. Start it, or set NATS_URL; trying again"
        return f"NATS: {said}"


def _template(subject: str) -> str:
    """The subject with a ``*`` for what differs from message to message, so that one lacking right is one sentence."""
    return ".".join("*" if _ONE_OF_MANY.fullmatch(token) else token for token in subject.split("."))
