"""Synchronises one room: its subscription, its requests, and what silence means."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from parley.contracts import rpc, subjects
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.frames import Delta, Generation
from parley.contracts.live import Changed, PresenceReport
from parley.runtime import tracing
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from parley.runtime.tasks import Tasks, end
from push import metrics
from push.bus.connection import Handler
from push.bus.delta_headers import DeltaHeaders
from push.bus.request_limiter import RequestBus, RequestLimiter, new_backoff
from push.rooms.presence import RoomPresence
from push.rooms.room import Room
from push.rooms.sync_requests import AnswerRequest, SyncRequest

log = logging.getLogger(__name__)

_delta = msgspec.json.Decoder(Delta)
_generation = msgspec.json.Decoder(Generation)
_changed = msgspec.json.Decoder(Changed)
_presence = msgspec.json.Decoder(PresenceReport)


class Unsubscribe(Protocol):
    """See :class:`push.bus.connection.LiveSubscription`."""

    async def unsubscribe(self) -> None: ...


class RoomBus(RequestBus, Protocol):
    """What rooms need of :class:`push.bus.connection.Bus`."""

    @property
    def connected(self) -> bool: ...

    async def subscribe(self, subject: str, handler: Handler) -> Unsubscribe: ...

    async def publish(self, subject: str, event: PresenceReport) -> None: ...


class RoomSync:
    """Subscribes the chat's live subjects, and asks what the room wants, one request at a time.

    Args:
        limiter: Which all rooms' requests go through.
        flush_soon: Called when the room has something to flush once the current read is through.
        on_news: Called when the room may have lost its last reader, or the chat was found not to exist.
    """

    __slots__ = (
        "_bus",
        "_closed",
        "_driver",
        "_flush_soon",
        "_limiter",
        "_on_news",
        "_quiet_after",
        "_quiet_since",
        "_silence_limit",
        "_store_backoff",
        "_subscription",
        "_tasks",
        "_worker_backoff",
        "_worker_timer",
        "empty_since",
        "presence",
        "room",
        "waiting_since",
    )

    def __init__(
        self,
        room: Room,
        bus: RoomBus,
        tasks: Tasks,
        limiter: RequestLimiter,
        flush_soon: Callable[[Room], None],
        on_news: Callable[["RoomSync"], None],
        *,
        quiet_after: float,
        process_id: str,
    ) -> None:
        self.room = room
        self.presence = RoomPresence(room.chat_id, process_id)
        self._bus = bus
        self._tasks = tasks
        self._limiter = limiter
        self._flush_soon = flush_soon
        self._on_news = on_news
        self._closed = False
        self._subscription: Unsubscribe | None = None
        self._driver: asyncio.Task[None] | None = None
        self._store_backoff = new_backoff()
        self._worker_backoff = new_backoff()
        self._worker_timer: asyncio.TimerHandle | None = None

        self._quiet_after = quiet_after
        self._silence_limit = quiet_after
        self._quiet_since = asyncio.get_running_loop().time()
        self.empty_since: float | None = None
        self.waiting_since: float | None = None

    def drive(self) -> None:
        """See to it that what the room wants is asked."""
        room = self.room
        if self._closed:
            return
        if self._driver is None and (
            self._subscription is None or room.wants_store or (room.wants_worker and self._worker_timer is None)
        ):
            self._driver = self._tasks.start(self._drive())

    def listen(self, now: float) -> None:
        """Notice silence during a running answer; called about each second."""
        if self.room.saw_traffic or not self.room.running:
            self.room.saw_traffic = False
            self._quiet_since = now
            self._silence_limit = self._quiet_after
        elif now - self._quiet_since >= self._silence_limit:
            self._quiet_since = now
            self._silence_limit = min(2 * self._silence_limit, 3 * self._quiet_after)
            self.room.resync()
            self.drive()

    def update_presence(self, now: float) -> None:
        """Report who reads a shared chat to its readers and to the other processes; called about each second."""
        room, presence = self.room, self.presence
        report = presence.step(room.readers.user_ids() if len(room.members) > 1 else frozenset(), room.members, now)
        if report is not None:
            self._tasks.start(self._bus.publish(subjects.live_presence(report.chat_id), report))
        if presence.frames is not None:
            room.readers.send_presence(presence.number, presence.frames)

    async def close(self) -> None:
        """Take no more messages and ask nothing more."""
        self._closed = True
        if self._worker_timer is not None:
            self._worker_timer.cancel()
        if self._subscription is None:
            # A driver that is about to subscribe ends by itself; cancelled, it could leave a subscription behind.
            return
        if self._driver is not None:
            await end(self._driver)
        await self._subscription.unsubscribe()

    # --- live --------------------------------------------------------------------------------------------------------

    def receive(self, subject: bytes, payload: bytes, headers: DeltaHeaders | None = None) -> None:
        """Take a live message. One with headers is written to readers at once: it belongs to a trace (an answer's first
        delta), or its delay is measured."""
        if headers is None:
            self._take(subject, payload)
            return
        if headers.traceparent is None:
            self._take(subject, payload)
            self.room.readers.flush()
        else:
            self._traced(subject, payload, headers.traceparent)
        if headers.read_at is not None and len(self.room.readers):
            metrics.ADDED_DELAY.observe(max(0.0, time.time() - headers.read_at))

    def _traced(self, subject: bytes, payload: bytes, traceparent: str) -> None:
        with tracing.span("push live.{chat}", kind="consumer", parent={tracing.TRACEPARENT: traceparent}) as span:
            self._take(subject, payload)
            self.room.readers.flush()
            span.set_attribute("parley.readers", len(self.room.readers))

    def _take(self, subject: bytes, payload: bytes) -> None:
        room = self.room
        try:
            if subject.endswith(b".delta"):
                room.counters.deltas += 1
                if room.delta(_delta.decode(payload), payload):
                    self._flush_soon(room)
                if room.is_gapless:
                    return
            elif subject.endswith(b".changed"):
                room.changed(_changed.decode(payload))
                self._on_news(self)
            elif subject.endswith(b".generation"):
                room.generation(_generation.decode(payload), payload)
            elif subject.endswith(b".presence"):
                self.presence.receive(_presence.decode(payload), asyncio.get_running_loop().time())
                return
        except UNDECODABLE as error:
            log.warning("A live message does not decode: %s", error, extra={"subject": subject.decode()})
            room.resync()
        self.drive()

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        try:
            while self._subscription is None and not self._closed:
                await self._follow()
            while not self._closed and (request := self.room.next_request()) is not None:
                if isinstance(request, SyncRequest):
                    if not await self._ask_store(request):
                        await self._limiter.wait(self._store_backoff.next_delay())
                elif self._worker_timer is not None or not await self._ask_worker(request):
                    return
        finally:
            # Here and not in a callback: whoever comes after the last look at next_request starts a new driver.
            self._driver = None

    async def _follow(self) -> None:
        try:
            subscription = await self._bus.subscribe(subjects.live(self.room.chat_id), self.receive)
        except BusUnavailable:
            await self._limiter.wait(self._store_backoff.next_delay())
            return
        if self._closed:
            await subscription.unsubscribe()
        else:
            self._subscription = subscription

    async def _ask_store(self, request: SyncRequest) -> bool:
        try:
            reply = await self._limiter.ask(rpc.Sync(chat_id=self.room.chat_id, after=request.after))
        except RpcRefused as refusal:
            if refusal.code in ("not_found", "forbidden"):
                self.room.deleted()
                self._on_news(self)
                return True
            return False
        except BusUnavailable:
            return False
        self._store_backoff.reset()
        self.room.synced(request, reply)
        self._on_news(self)
        return True

    async def _ask_worker(self, request: AnswerRequest) -> bool:
        """Ask the owner of the answer; without one, ask again later, for another worker will take over."""
        try:
            subject = subjects.rpc_generation_snapshot(request.generation_id)
            reply = await self._limiter.ask(rpc.SnapshotRequest(), subject=subject)
        except (BusUnavailable, RpcRefused):
            self.room.unowned(request.generation_id)
            self._later()
            return False
        if not self.room.snapshot(reply):
            self._later()
            return False
        self._worker_backoff.reset()
        return True

    def _later(self) -> None:
        self._worker_timer = asyncio.get_running_loop().call_later(self._worker_backoff.next_delay(), self._again)

    def _again(self) -> None:
        self._worker_timer = None
        self.drive()
