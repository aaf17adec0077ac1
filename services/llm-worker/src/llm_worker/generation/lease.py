"""The lease of a request: heartbeats, and its expiry by the clock of this process.

The server redelivers a request to another worker when it has received no heartbeat for ``ack_wait``. It still accepts a
later acknowledgement or heartbeat, so those prove nothing (``docs/decisions/0005``). But a heartbeat that the server
confirmed was received no earlier than it was sent. Up to ``ack_wait`` after that moment, by the monotonic clock, the
lease is valid; after it, another worker may own the request.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from llm_worker.errors import LeaseLost
from parley.runtime.nats.errors import TRANSIENT_ERRORS

log = logging.getLogger(__name__)

_MARGIN: Final = 0.05
"""Of ``ack_wait``: the lease expires that much earlier here than on the server, for messages in flight."""

_RETRY_DELAY: Final = 0.2


class Lease:
    """The lease of one request.

    Args:
        message: As delivered.
        requested_at: ``time.monotonic()`` of when the message was requested; it was delivered no earlier.
        ack_wait: Of the consumer, in seconds.

    Attributes:
        message: The newest delivery; replaced by a later one of the same request, after a restart of the server for
            example.
    """

    def __init__(
        self,
        nc: Client,
        message: Msg,
        *,
        requested_at: float,
        ack_wait: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nc = nc
        self.message = message
        self._clock = clock
        self._term = ack_wait * (1 - _MARGIN)
        self._interval = ack_wait / 3
        self._expires_at = requested_at + self._term
        self._lost = False

    def is_valid(self) -> bool:
        """Whether this process owns the request now. Once false, it stays false."""
        if self._lost or self._clock() >= self._expires_at:
            self._lost = True
            return False
        return True

    @property
    def remaining(self) -> float:
        """Seconds until it expires unless a heartbeat is confirmed."""
        return max(0.0, self._expires_at - self._clock()) if self.is_valid() else 0.0

    def check(self) -> None:
        """Return if the lease is valid.

        Raises:
            LeaseLost
        """
        if not self.is_valid():
            raise LeaseLost

    async def renew(self) -> None:
        """Send heartbeats, the first one at once. Returns when the lease has expired."""
        while self.is_valid():
            sent = self._clock()
            if not await self._send_heartbeat():
                await asyncio.sleep(min(_RETRY_DELAY, self.remaining))
                continue
            # A confirmation that comes too late does not count.
            if not self.is_valid():
                break
            self._expires_at = max(self._expires_at, sent + self._term)
            await asyncio.sleep(max(0.0, min(sent + self._interval - self._clock(), self.remaining)))

    async def _send_heartbeat(self) -> bool:
        """Send one heartbeat; return whether the server confirmed it."""
        if not self._nc.is_connected:
            # Not into the client's buffer: sent after a long outage, it would delay the takeover.
            return False
        try:
            await self._nc.request(
                self.message.reply, Msg.Ack.Progress, timeout=min(self._interval, self.remaining + 0.001)
            )
        except TRANSIENT_ERRORS as error:
            log.debug("Heartbeat: %r", error)
            return False
        return True

    async def acknowledge(self) -> None:
        """Acknowledge the request. At most once: if it is lost, the claim of a redelivery is refused."""
        await self._reply(Msg.Ack.Ack)

    async def nak(self, *, delay: float | None = None) -> bool:
        """Ask for redelivery, at once or after ``delay`` s; return whether it was sent."""
        payload = Msg.Ack.Nak
        if delay is not None:
            payload += b' {"delay": %d}' % int(delay * 1e9)
        return await self._reply(payload)

    async def terminate(self) -> None:
        """Ask the server not to redeliver the request."""
        await self._reply(Msg.Ack.Term)

    async def _reply(self, payload: bytes) -> bool:
        if not self._nc.is_connected:
            return False
        try:
            await self._nc.publish(self.message.reply, payload)
        except TRANSIENT_ERRORS as error:
            log.debug("Acknowledging: %r", error)
            return False
        return True
