"""NATS as push uses it: live subjects in, requests out."""

import logging
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

import msgspec
from nats.aio.subscription import Subscription
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from parley.contracts.live import PresenceReport, TicketUsed
from parley.contracts.rpc import Request
from parley.runtime.nats.client import ReconnectingClient
from parley.runtime.nats.connect import connect_options
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable
from parley.runtime.nats.requests import ask
from push.bus.delta_headers import DeltaHeaders, parse_headers

log = logging.getLogger(__name__)

Reply = TypeVar("Reply")

Handler = Callable[[bytes, bytes, DeltaHeaders | None], None]
"""Takes subject, payload and headers, if any, of a live message, within the read that contained it."""


class LiveParser(Parser):  # type: ignore[misc,unused-ignore]
    """The client's parser, with a short cut for whole live messages.

    The library's parser matches each message against a pattern, keeps it in parts and shifts its buffer twice: three
    times what a room does with a delta. A read nearly always holds whole live messages; what follows the last of them
    is parsed by the library.
    """

    def __init__(self, client: "LiveClient") -> None:
        super().__init__(client)
        self._client = client

    async def parse(self, data: bytes = b"") -> None:
        if self.state == AWAITING_CONTROL_LINE and not self.buf:
            data = self._after_live(data)
            if not data:
                return
        await super().parse(data)

    def _after_live(self, data: bytes) -> bytes:
        """Hand over the live messages that ``data`` begins with; return what follows them."""
        position = 0
        while data.startswith(b"MSG ", position):
            line_end = data.find(b"\r\n", position)
            fields = data[position + 4 : line_end].split(b" ") if line_end > 0 else ()
            if len(fields) != 3:
                break  # cut off, or with a reply subject
            subject, sid, size = fields
            begin = line_end + 2
            end = begin + int(size)
            if end + 2 > len(data) or not self._client.take_live(int(sid), subject, data[begin:end], b""):
                break
            position = end + 2
        return data[position:] if position else data


class LiveClient(ReconnectingClient):
    """A NATS client that hands live messages to their room at once.

    nats-py puts each message of a subscription into its queue, for a task of its own to take it out: that is one task
    per room, and most of the cost of a delta. Deltas are handled without waiting for anything, so the reading task may
    do it. ``_process_msg`` is where the client's parser hands over a message; all else stays the library's, other
    subscriptions too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._live: dict[int, Handler] = {}
        self._ps = LiveParser(self)

    async def subscribe_live(self, subject: str, handler: Handler) -> "LiveSubscription":
        """Call ``handler`` for each message.

        At most once. After a reconnect it goes on by itself; what came in between is lost.
        """
        subscription = await self.subscribe(subject)
        self._live[subscription._id] = handler
        return LiveSubscription(self, subscription)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if not self.take_live(sid, subject, data, headers):
            await super()._process_msg(sid, subject, reply, data, headers)

    def take_live(self, sid: int, subject: bytes, data: bytes, headers: bytes) -> bool:
        """Hand a message to its handler; False: it has none."""
        handler = self._live.get(sid)
        if handler is None:
            return False
        try:
            handler(subject, data, parse_headers(headers) if headers else None)
        except Exception:
            # The reading task carries every room.
            log.exception("A live message could not be handled", extra={"subject": subject.decode()})
        return True


class LiveSubscription:
    """What :meth:`LiveClient.subscribe_live` returns."""

    def __init__(self, client: LiveClient, subscription: Subscription) -> None:
        self._client = client
        self._subscription = subscription

    async def unsubscribe(self) -> None:
        """Take no more messages, from now on."""
        self._client._live.pop(self._subscription._id, None)
        try:
            await self._subscription.unsubscribe()
        except Exception as error:
            # A connection that is closed or in between has no subscriptions to end.
            log.debug("Not unsubscribed: %r", error)


class Bus:
    """A connection to NATS that reconnects by itself."""

    def __init__(self) -> None:
        self._client = LiveClient()

    async def connect(
        self, url: str, *, on_reconnected: Callable[[], Awaitable[None]], on_closed: Callable[[], Awaitable[None]]
    ) -> Self:
        """Connect, and return itself; waits while no server answers yet."""
        options = connect_options(url, "push", on_closed=on_closed, on_reconnected=on_reconnected)
        await self._client.connect(**options)
        return self

    @property
    def connected(self) -> bool:
        return bool(self._client.is_connected)

    async def close(self) -> None:
        await self._client.close()

    async def subscribe(self, subject: str, handler: Handler) -> "LiveSubscription":
        """Pass all live messages of a subject to ``handler``. At most once.

        The server has the subscription before it receives any request made after this: what a reply does not contain
        yet comes live.

        Raises:
            BusUnavailable: there is no connection to subscribe on.
        """
        try:
            return await self._client.subscribe_live(subject, handler)
        except TRANSIENT_ERRORS as error:
            raise BusUnavailable(f"not subscribed: {error!r}") from error

    async def publish(self, subject: str, event: PresenceReport | TicketUsed) -> None:
        """Report an event to all push processes. At most once."""
        if not self.connected:
            return
        try:
            await self._client.publish(subject, msgspec.json.encode(event))
        except TRANSIENT_ERRORS as error:
            log.debug("%s was not published: %r", subject, error)

    async def ask(self, request: Request[Reply], *, timeout: float, subject: str | None = None) -> Reply:
        """Send a request; see :func:`parley.runtime.nats.requests.ask`.

        Raises:
            RpcRefused, NoResponder, BusUnavailable: there is no reply.
        """
        if not self.connected:
            # A request would be buffered until the reconnect, and its reply would come to nobody.
            raise BusUnavailable("not connected to NATS")
        return await ask(self._client, request, timeout=timeout, subject=subject)
