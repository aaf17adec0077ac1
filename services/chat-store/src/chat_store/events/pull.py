"""Taking messages from a durable pull consumer: what has arrived is one batch, and nothing waits for a batch to fill.

nats-py's ``fetch`` and FastStream's batch subscriber both hold the first message back until a batch is full or a
timeout has passed. Here one pull request is kept open, messages gather while the batch before is in hand, and a batch
is what has gathered: one message when idle, many under load.
"""

import asyncio
import logging
import time
from collections import deque
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from parley.contracts.streams import ConsumerSpec
from parley.runtime.nats.bus import TROUBLE

log = logging.getLogger(__name__)

EXPIRES: Final = 5.0
"""Seconds that a pull request stays open on the server."""

MAX_BYTES: Final = 16 * 1024 * 1024
"""Of messages that one request brings: a batch of the longest ones would be a quarter of a gigabyte."""

_GRACE: Final = 1.0
_PAUSE: Final = 0.5
_NORMAL_STATUS: Final = ("404", "408", "409")
_NO_RESPONDERS: Final = "503"


class Pull:
    """Messages of a durable consumer, in the server's order.

    At least once; each must be acknowledged, or handed back with :func:`nak_all`.

    Args:
        batch: How many messages may be out at this client, at most twice (in hand, and gathering).
    """

    def __init__(self, nc: Client, spec: ConsumerSpec, *, batch: int) -> None:
        self._nc = nc
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.name}"
        self._batch = batch
        self._gathered: deque[Msg] = deque()
        self._arrived = asyncio.Event()
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._number = 0
        self._outstanding = 0
        self._expires_at = 0.0
        self._not_before = 0.0
        self._renewed = False

    async def open(self) -> None:
        self._inbox = self._nc.new_inbox()
        self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_message)

    async def close(self) -> None:
        """Stop taking messages and hand back what has gathered."""
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            try:
                await subscription.unsubscribe()
            except TROUBLE as error:
                log.debug("Unsubscribing: %r", error)
        await nak_all(list(self._gathered))
        self._gathered.clear()

    def renew(self) -> None:
        """Ask anew: the request that was open is gone with the connection that it was made on."""
        self._outstanding = 0
        self._not_before = 0.0
        self._renewed = True
        self._arrived.set()

    async def next(self) -> list[Msg]:
        """Wait for messages and return those that have arrived, oldest first.

        None at first after a renewal: what was on its way on the connection before is out, and will not arrive.
        """
        while not (self._gathered or self._renewed):
            self._arrived.clear()
            wait = await self._ask()
            try:
                async with asyncio.timeout(wait):
                    await self._arrived.wait()
            except TimeoutError:
                continue
        if self._renewed:
            self._renewed = False
            return []
        batch = [self._gathered.popleft() for _ in range(min(len(self._gathered), self._batch))]
        # Now, so that the next ones gather while these are in hand.
        await self._ask()
        return batch

    async def _ask(self) -> float:
        """Keep one request open; return the seconds until it is worth asking again."""
        now = time.monotonic()
        if now < self._not_before:
            return self._not_before - now
        if self._outstanding > 0 and now < self._expires_at:
            return self._expires_at - now
        wanted = self._batch - len(self._gathered)
        if wanted <= 0:
            return EXPIRES
        self._number += 1
        self._outstanding = wanted
        self._expires_at = now + EXPIRES + _GRACE
        body = msgspec.json.encode({"batch": wanted, "max_bytes": MAX_BYTES, "expires": int(EXPIRES * 1e9)})
        try:
            await self._nc.publish(self._subject, body, reply=f"{self._inbox}.{self._number}")
        except TROUBLE as error:
            log.debug("Asking for messages: %r", error)
            self._outstanding = 0
            self._not_before = now + _PAUSE
            return _PAUSE
        return EXPIRES + _GRACE

    async def _on_message(self, message: Msg) -> None:
        if message.reply:
            self._outstanding -= 1
            self._gathered.append(message)
        elif message.subject == f"{self._inbox}.{self._number}":
            # The open request has ended: it expired, or the server says why it cannot be served now.
            status = (message.headers or {}).get("Status", "")
            self._outstanding = 0
            if status == _NO_RESPONDERS or status not in _NORMAL_STATUS:
                self._not_before = time.monotonic() + _PAUSE
            elif status == "409" and "maxbytes" not in (message.headers or {}).get("Description", "").lower():
                log.debug("%s: %s", self._subject, message.headers)
                self._not_before = time.monotonic() + 0.1
        self._arrived.set()


async def nak_all(messages: list[Msg], *, delay: float | None = None) -> None:
    """Give messages back to the server, for somebody else or for later. Those already acknowledged are left out."""
    for message in messages:
        if message.is_acked:
            continue
        try:
            await message.nak(delay)
        except TROUBLE as error:
            # The server gives it out again by itself once ack_wait has passed.
            log.debug("Handing back: %r", error)
            return


async def keep_alive(messages: list[Msg], *, every: float) -> None:
    """Say each ``every`` seconds that these are still in hand, until cancelled."""
    while True:
        await asyncio.sleep(every)
        for message in messages:
            if message.is_acked:
                continue
            try:
                await message.in_progress()
            except TROUBLE as error:
                log.debug("Keeping alive: %r", error)
                break
