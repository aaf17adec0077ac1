"""Holding a request: heartbeats, and knowing by our own clock when we no longer do.

The server gives a request to another worker when it has heard no heartbeat for ``ack_wait``. It accepts an
acknowledgement or a heartbeat that comes later all the same, so those prove nothing (``docs/decisions/0005``). What we
can know: a heartbeat that the server confirmed was received no earlier than we sent it. Up to ``ack_wait`` after that
moment, by the monotonic clock, the request is ours; after it we must assume that it is not.
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
"""Of ``ack_wait``: we give up that much earlier than the server does, for what is on its way."""

_RETRY: Final = 0.2


class Lease:
    """One request that we hold.

    Args:
        message: As delivered.
        asked_at: ``time.monotonic()`` of when we asked for a message; it was delivered no earlier.
        ack_wait: Of the consumer, in seconds.
    """

    def __init__(
        self,
        nc: Client,
        message: Msg,
        *,
        asked_at: float,
        ack_wait: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nc = nc
        self._message = message
        self._clock = clock
        self._term = ack_wait * (1 - _MARGIN)
        self._every = ack_wait / 3
        self._until = asked_at + self._term
        self._lost = False

    @property
    def message(self) -> Msg:
        """The newest delivery of the request."""
        return self._message

    def is_held(self) -> bool:
        """Whether the request is ours at this moment. Once false, false for ever."""
        if self._lost or self._clock() >= self._until:
            self._lost = True
            return False
        return True

    @property
    def left(self) -> float:
        """Seconds until it is lost if no further heartbeat is confirmed."""
        return max(0.0, self._until - self._clock()) if self.is_held() else 0.0

    def check(self) -> None:
        """Return if the request is ours.

        Raises:
            LeaseLost
        """
        if not self.is_held():
            raise LeaseLost

    def adopt(self, message: Msg) -> None:
        """Go on with a later delivery of the same request: the server lost sight of ours (it was restarted, say)."""
        self._message = message

    async def keep(self) -> None:
        """Send heartbeats, the first one at once. Returns when the lease is lost."""
        while self.is_held():
            sent = self._clock()
            if not await self._beat():
                await asyncio.sleep(min(_RETRY, self.left))
                continue
            # Late is lost, also when the server confirmed it.
            if not self.is_held():
                break
            self._until = max(self._until, sent + self._term)
            await asyncio.sleep(max(0.0, min(sent + self._every - self._clock(), self.left)))

    async def _beat(self) -> bool:
        """Send one heartbeat; whether the server confirmed it."""
        if not self._nc.is_connected:
            # Not into the client's buffer: sent after a long outage, it would only keep others away.
            return False
        try:
            await self._nc.request(self._message.reply, Msg.Ack.Progress, timeout=min(self._every, self.left + 0.001))
        except TRANSIENT_ERRORS as error:
            log.debug("Heartbeat: %r", error)
            return False
        return True

    async def acknowledge(self) -> None:
        """Tell the server that the request is done. At most once: without it, the claim of a redelivery is refused."""
        await self._answer(Msg.Ack.Ack)

    async def nak(self, *, delay: float | None = None) -> bool:
        """Ask the server to give the request to somebody else, at once or after ``delay`` s; whether it went out."""
        payload = Msg.Ack.Nak
        if delay is not None:
            payload += b' {"delay": %d}' % int(delay * 1e9)
        return await self._answer(payload)

    async def terminate(self) -> None:
        """Tell the server never to deliver the request again."""
        await self._answer(Msg.Ack.Term)

    async def _answer(self, payload: bytes) -> bool:
        if not self._nc.is_connected:
            return False
        try:
            await self._nc.publish(self._message.reply, payload)
        except TRANSIENT_ERRORS as error:
            log.debug("Acknowledging: %r", error)
            return False
        return True
