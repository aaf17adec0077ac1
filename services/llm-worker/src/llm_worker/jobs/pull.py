"""Asking for one request at a time."""

import asyncio
import logging
import time
from typing import Final, NamedTuple

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from parley.contracts.streams import ConsumerSpec
from parley.runtime.nats.bus import TROUBLE

log = logging.getLogger(__name__)

_GRACE: Final = 1.0
"""Seconds that the server may be late with telling us that nothing came."""

_PAUSE: Final = 0.25
_NOTHING_CAME: Final = frozenset({"404", "408"})


class Fetched(NamedTuple):
    """A message, and when (``time.monotonic()``) it was asked for."""

    message: Msg
    asked_at: float


class Pull:
    """Takes messages of a durable pull consumer one by one, each only when it is asked for.

    nats-py's ``fetch`` would do, but for its end: cancelled, it may leave a message behind that nobody gives back until
    ``ack_wait`` has passed.

    Args:
        expires: Seconds that a request for a message waits on the server.
    """

    def __init__(self, nc: Client, consumer: ConsumerSpec, *, expires: float) -> None:
        self._nc = nc
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.name}"
        self._body = msgspec.json.encode({"batch": 1, "expires": int(expires * 1e9)})
        self._patience = expires + _GRACE
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._waiting: asyncio.Future[Msg | None] | None = None

    async def next(self) -> Fetched:
        """Wait for a message. May be cancelled: what then still comes is given back."""
        while True:
            if not self._nc.is_connected:
                await asyncio.sleep(_PAUSE)
                continue
            if self._subscription is None:
                await self._open()
            asked_at = time.monotonic()
            try:
                message = await self._ask()
            except TimeoutError:
                # Lost on the way. Should its message come yet, nobody must mistake it for one asked for later.
                await self._forget()
                continue
            if message is None:
                await asyncio.sleep(_PAUSE)
            elif message.reply:
                return Fetched(message, asked_at)

    async def _ask(self) -> Msg | None:
        """Return a message, the server's word that none came, or None when it could not be asked.

        Raises:
            TimeoutError: neither came.
        """
        waiting: asyncio.Future[Msg | None] = asyncio.get_running_loop().create_future()
        self._waiting = waiting
        try:
            await self._nc.publish(self._subject, self._body, reply=self._inbox)
            async with asyncio.timeout(self._patience):
                return await waiting
        except BaseException as error:
            if waiting.done() and not waiting.cancelled() and (late := waiting.result()) is not None:
                # It came at the very moment that we gave up waiting.
                await _give_back(late)
            if isinstance(error, TROUBLE) and not isinstance(error, TimeoutError):
                log.debug("Asking for a request: %r", error)
                return None
            raise
        finally:
            self._waiting = None

    def renew(self) -> None:
        """Ask again: what we asked for is gone with the connection that we asked on."""
        self._settle(None)

    async def close(self) -> None:
        """Ask no more. What was on its way is given back at once."""
        subscription, self._subscription = self._subscription, None
        if subscription is None or not self._nc.is_connected:
            return
        try:
            # Without our interest in the inbox the server forgets the request; what it sent before arrives meanwhile.
            await subscription.drain()  # type: ignore[no-untyped-call]
        except TROUBLE as error:
            log.debug("Closing the pull: %r", error)

    async def _open(self) -> None:
        self._inbox = self._nc.new_inbox()
        self._subscription = await self._nc.subscribe(self._inbox, cb=self._on_message)

    async def _forget(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            try:
                await subscription.unsubscribe()
            except TROUBLE as error:
                log.debug("Unsubscribing: %r", error)

    async def _on_message(self, message: Msg) -> None:
        if message.reply:
            if not self._settle(message):
                await _give_back(message)
            return
        status = (message.headers or {}).get("Status", "")
        if status in _NOTHING_CAME:
            self._settle(message)
        else:
            log.debug("%s: %s", self._subject, message.headers)
            self._settle(None)

    def _settle(self, result: Msg | None) -> bool:
        if self._waiting is None or self._waiting.done():
            return False
        self._waiting.set_result(result)
        return True


async def _give_back(message: Msg) -> None:
    if not message.reply:
        return
    try:
        await message.nak()
    except TROUBLE as error:
        # The server gives it to somebody else once ack_wait has passed.
        log.debug("Giving back: %r", error)
