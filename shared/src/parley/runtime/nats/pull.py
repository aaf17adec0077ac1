"""Consuming a durable pull consumer: in batches of what has arrived, or one message at a time.

Not nats-py's ``fetch``: it delays the first message until a batch is full or a timeout has passed, and when it is
cancelled it may leave a message that is redelivered only once ``ack_wait`` has passed.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from parley.contracts.streams import ConsumerSpec
from parley.runtime.nats.errors import TRANSIENT_ERRORS

log = logging.getLogger(__name__)

EXPIRES: Final = 5.0
"""Seconds that a pull request stays open on the server."""

MAX_BYTES: Final = 16 * 1024 * 1024
"""Size of the messages that one request brings: a batch of the longest ones would be a quarter of a gigabyte."""

_GRACE: Final = 1.0
"""Seconds after ``expires`` within which the server reports that a request has expired."""

_RETRY_DELAY: Final = 0.25
_DRAIN_TIMEOUT: Final = 2.0
_ENDED: Final = ("404 ", "408 ", "409 batch completed", "409 message size exceeds maxbytes")
"""How a status begins, in lower case, of a request that ended in good order: none or no more messages."""


class Fetched(NamedTuple):
    """A message, and when (``time.monotonic()``) it was requested: it was delivered no earlier."""

    message: Msg
    requested_at: float


class PullConsumer:
    """Messages of a durable consumer, in the server's order.

    At least once; each must be acknowledged, or given back with :func:`nak_all`. At most one pull request is open at a
    time.

    Args:
        batch: How many messages one request brings.
        prefetch: Request the next batch as soon as one is returned, so that at most twice ``batch`` messages are
            delivered and not acknowledged. Otherwise a message is requested only while a caller waits for it.
        expires: Seconds that a request stays open on the server.
    """

    def __init__(
        self, nc: Client, spec: ConsumerSpec, *, batch: int = 1, prefetch: bool = True, expires: float = EXPIRES
    ) -> None:
        self._nc = nc
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.name}"
        self._batch = batch
        self._prefetch = prefetch
        self._expires = expires
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._arrived: deque[Fetched] = deque()
        self._changed = asyncio.Event()
        self._waiting = False
        self._closing = False
        self._renewed = False
        # The open request: its number, how many messages it may still bring, when it was made and when it ends.
        self._number = 0
        self._outstanding = 0
        self._requested_at = 0.0
        self._expires_at = 0.0
        self._not_before = 0.0

    async def next_batch(self) -> list[Msg]:
        """Wait for messages and return those that have arrived, oldest first, at most ``batch``.

        The first batch after :meth:`renew` is empty: messages sent on the previous connection count as delivered and
        may never arrive. Cancelled without ``prefetch``, a message that still arrives is given back at once.
        """
        return [fetched.message for fetched in await self._next()]

    async def next(self) -> Fetched:
        """Wait for one message; for a ``batch`` of one. May be cancelled, as :meth:`next_batch`."""
        while True:
            for fetched in await self._next():
                return fetched

    def renew(self) -> None:
        """Make a new request: the open one is gone with the connection that it was made on."""
        self._outstanding = 0
        self._not_before = 0.0
        self._renewed = True
        self._changed.set()

    async def close(self) -> None:
        """Give back what has arrived and what was on its way. The next call opens the consumer again."""
        self._closing = True
        self._outstanding = 0
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            try:
                if self._nc.is_connected:
                    # Without an interest in the inbox the server drops the request; what it sent before arrives
                    # meanwhile.
                    async with asyncio.timeout(_DRAIN_TIMEOUT):
                        await subscription.drain()  # type: ignore[no-untyped-call]
                else:
                    # Otherwise the client would subscribe again at each reconnect.
                    await subscription.unsubscribe()
            except TRANSIENT_ERRORS as error:
                log.debug("%s: draining: %r", self._subject, error)
        await self._nak_arrived()

    async def _next(self) -> list[Fetched]:
        self._closing = False
        self._waiting = True
        try:
            while not (self._arrived or self._renewed):
                self._changed.clear()
                wait = await self._request(self._batch)
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    await self._drop_lost_request()
        except BaseException:
            if not self._prefetch:
                await self._nak_arrived()
            raise
        finally:
            self._waiting = False
        if self._renewed:
            self._renewed = False
            return []
        count = min(len(self._arrived), self._batch)
        if self._prefetch:
            # Before they are taken out: cancelled here, none is lost.
            await self._request(self._batch - (len(self._arrived) - count))
        return [self._arrived.popleft() for _ in range(count)]

    async def _request(self, wanted: int) -> float:
        """Keep one request open; return the seconds until it is worth asking again."""
        now = time.monotonic()
        if now < self._not_before:
            return self._not_before - now
        if self._outstanding > 0 and now < self._expires_at:
            return self._expires_at - now
        if wanted <= 0:
            return self._expires
        try:
            if not self._nc.is_connected:
                return self._retry_later("not connected")
            if self._subscription is None:
                inbox = self._nc.new_inbox()
                self._subscription = await self._nc.subscribe(f"{inbox}.*", cb=self._on_message)
                self._inbox = inbox
            self._number += 1
            self._outstanding = wanted
            self._requested_at = time.monotonic()
            self._expires_at = self._requested_at + self._expires + _GRACE
            body = {"batch": wanted, "max_bytes": MAX_BYTES, "expires": int(self._expires * 1e9)}
            await self._nc.publish(self._subject, msgspec.json.encode(body), reply=f"{self._inbox}.{self._number}")
        except TRANSIENT_ERRORS as error:
            return self._retry_later(error)
        return self._expires + _GRACE

    def _retry_later(self, reason: object) -> float:
        log.debug("%s: %s", self._subject, reason)
        self._outstanding = 0
        self._not_before = time.monotonic() + _RETRY_DELAY
        return _RETRY_DELAY

    async def _drop_lost_request(self) -> None:
        """After a request without any reply: a message that it still brings must not count as requested later."""
        if self._prefetch or self._outstanding <= 0 or time.monotonic() < self._expires_at or self._arrived:
            return
        self._outstanding = 0
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            try:
                await subscription.unsubscribe()
            except TRANSIENT_ERRORS as error:
                log.debug("%s: unsubscribing: %r", self._subject, error)

    async def _on_message(self, message: Msg) -> None:
        if message.reply:
            self._outstanding -= 1
            if not self._closing and (self._prefetch or (self._waiting and not self._arrived)):
                self._arrived.append(Fetched(message, self._requested_at))
            else:
                await nak_all([message])
        elif message.subject == f"{self._inbox}.{self._number}":
            # The open request has ended: it expired, or the server says why it cannot be served now.
            self._outstanding = 0
            headers = message.headers or {}
            status = f"{headers.get('Status')} {headers.get('Description')}"
            if not status.lower().startswith(_ENDED):
                self._retry_later(status)
        self._changed.set()

    async def _nak_arrived(self) -> None:
        arrived = [fetched.message for fetched in self._arrived]
        self._arrived.clear()
        await nak_all(arrived)


async def nak_all(messages: Sequence[Msg], *, delay: float | None = None) -> None:
    """Give messages back to the server, for another consumer or for later. Acknowledged ones are left out."""
    for message in messages:
        if message.is_acked:
            continue
        try:
            await message.nak(delay)
        except TRANSIENT_ERRORS as error:
            # The server redelivers it once ack_wait has passed.
            log.debug("Not given back: %r", error)
            return


async def keep_in_progress(messages: Sequence[Msg], *, every: float) -> None:
    """Extend ``ack_wait`` of the messages each ``every`` seconds, until cancelled."""
    while True:
        await asyncio.sleep(every)
        for message in messages:
            if message.is_acked:
                continue
            try:
                await message.in_progress()
            except TRANSIENT_ERRORS as error:
                log.debug("Not extended: %r", error)
                break
