"""Repairs what a crash, a lost message or a dead worker caused. Runs on the leader.

- A request that is not known to be in the stream is published (a crash between commit and publish, or NATS was away).
- The stop signal to a worker is repeated each second, until the answer has ended.
- An active generation without an owner is requested again: within seconds when its worker's connection has ended (the
  process died), after ``orphan_after`` when the worker is connected and silent (by then JetStream has delivered the
  request to another worker, as a rule). First its end is looked for in the stream.
- The end of an answer that was delivered to a chat-store and is not acknowledged for two seconds is carried out: the
  connection broke under it, or that chat-store died. The server would give it out again only after ``ack_wait``.
- Sessions past their time are removed, and guests who are in no chat and have not been here for long.
- Prompts that wait for nothing but the limit of their author's running answers are started.
- The streams are purged of deleted chats (:mod:`chat_store.events.purge`).
- Users are erased (:mod:`chat_store.events.erasure`), and audit events published (:mod:`chat_store.events.audit`).

Nobody owns a generation when nobody answers ``rpc.generation.<id>.snapshot`` (:mod:`chat_store.events.orphans`). While
no worker waits for work, all are busy (or none is there), and a request more would only lengthen the queue: that time
does not count.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import nats.js.errors

from chat_store import metrics
from chat_store.domain.records import GenerationRecord
from chat_store.errors import is_outage
from chat_store.events.audit import AuditPublisher
from chat_store.events.context import EventContext
from chat_store.events.erasure import Eraser
from chat_store.events.orphans import Absence, Orphans
from chat_store.events.purge import Purger
from chat_store.events.subscribers import Finished, again_or_fail, stored_between
from chat_store.storage import chats, generations, limits, messages
from chat_store.storage.identity import sessions, users
from parley.contracts import subjects
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.events import GenerationFinished
from parley.contracts.streams import CHAT, CHAT_STORE_FINISHED, LLM_WORKER_REQUESTS
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable
from parley.runtime.tasks import finish_despite_cancellation

log = logging.getLogger(__name__)

TICK: Final = 1.0
"""Seconds between two rounds of what is urgent: stop signals and lost requests."""

MAX_OWNER_CHECK: Final = 1.0
"""Seconds between two rounds of looking for owners, at most."""

GONE_AFTER: Final = 4.0
"""Seconds without a connection after which a worker is taken to be dead; one that lost its server is back by then."""

CLAIMED_FOR: Final = timedelta(seconds=1)
"""Age of a claim from which on its owner is looked for."""

UNPUBLISHED_AFTER: Final = timedelta(seconds=2)
"""Age of a request at which its publisher is taken to be gone. It may still be there: the event id is the same."""

STOP_DELETED_FOR: Final = timedelta(seconds=60)
RETENTION_CHECK: Final = 600.0
"""Seconds between two searches for chats that are older than the retention."""
KEEP_DELETED_FOR: Final = timedelta(days=30)
KEEP_REJECTED_FOR: Final = timedelta(days=7)
KEEP_ADMITTED_FOR: Final = timedelta(days=1)
BATCH: Final = 500
GRACE: Final = 1.0
"""Seconds for a round to finish when the leader steps down."""
UNACKNOWLEDGED_FOR: Final = 2.0
"""Seconds after which an end that a chat-store was given counts as lost; to carry it out twice changes nothing."""
ENDS_BATCH: Final = 128
REQUESTED_FOR: Final = 15.0
"""Seconds after which a request that nobody claimed is looked for, at most."""


class UnacknowledgedEnds:
    """Which ends have been delivered and not acknowledged for :data:`UNACKNOWLEDGED_FOR` seconds. Pure."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._done = 0

    def overdue(self, floor: int, delivered: int, now: float) -> tuple[int, int] | None:
        """Return the sequences after which and up to which they lie; None: there are none.

        Args:
            floor: Up to here all is acknowledged.
            delivered: The newest that was delivered.
            now: By the monotonic clock.
        """
        self._seen.append((now, delivered))
        while len(self._seen) > 1 and self._seen[1][0] <= now - UNACKNOWLEDGED_FOR:
            self._seen.popleft()
        seen_at, last = self._seen[0]
        if seen_at > now - UNACKNOWLEDGED_FOR:
            return None
        after = max(floor, self._done)
        return (after, last) if last > after else None

    def done(self, last: int) -> None:
        """They are carried out up to the sequence ``last``."""
        self._done = last


class Sweeper:
    """Repairs what events and requests leave behind, during one leadership; see the module.

    Args:
        orphan_after: Seconds of an owner's silence after which an answer is requested again.
        retention: How long after its last change a chat is deleted; None: never.
        forget_guests_after: How long after the last visit a guest who is in no chat is removed; None: never.
    """

    def __init__(
        self,
        context: EventContext,
        finished: Finished,
        *,
        orphan_after: float,
        forget_guests_after: timedelta | None,
        retention: timedelta | None,
    ) -> None:
        self._context = context
        self._finished = finished
        self._orphan_after = orphan_after
        self._forget_guests_after = forget_guests_after
        self._purger = Purger(context)
        self._eraser = Eraser(context, retention=retention)
        self._audit = AuditPublisher(context)
        self._owner_check = min(MAX_OWNER_CHECK, orphan_after / 4)
        self._orphans = Orphans(context.nc)
        self._absences: dict[str, Absence] = {}
        self._unacknowledged_ends = UnacknowledgedEnds()

    async def run(self) -> None:
        """Until cancelled; whether Postgres is away is for the leader to notice."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._each(TICK, self._urgent))
                group.create_task(self._each(TICK, self._ends))
                group.create_task(self._each(TICK, self._waiting))
                group.create_task(self._each(TICK, self._purger.purge))
                group.create_task(self._each(TICK, self._eraser.erase))
                group.create_task(self._each(TICK, self._audit.publish))
                group.create_task(self._each(self._owner_check, self._owners))
                group.create_task(self._each(3600.0, self._forget))
                group.create_task(self._each(RETENTION_CHECK, self._eraser.delete_old_chats))
        finally:
            metrics.OLDEST_REQUEST.set(0.0)

    async def _each(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await finish_despite_cancellation(work(), GRACE)
            except (BusUnavailable, *TRANSIENT_ERRORS) as error:
                log.debug("The sweeper waits for NATS: %r", error)
            except Exception as error:
                if is_outage(error):
                    log.debug("The sweeper waits for Postgres: %r", error)
                else:
                    log.exception("The sweeper failed; it goes on")
            await asyncio.sleep(seconds)

    async def _urgent(self) -> None:
        now = datetime.now(UTC)
        async with self._context.database.connection() as connection:
            stopping = await generations.stopping(connection, deleted_after=now - STOP_DELETED_FOR)
            lost = await generations.unpublished(connection, before=now - UNPUBLISHED_AFTER, limit=BATCH)
            oldest = await generations.oldest_request(connection)
        metrics.OLDEST_REQUEST.set(0.0 if oldest is None else max(0.0, (now - oldest).total_seconds()))
        for generation_id in stopping:
            await self._context.publisher.signal_stop(generation_id)
        if lost and self._context.nc.is_connected:
            metrics.SWEPT.labels("request_published").inc(len(lost))
            await self._context.publisher.request(lost)

    async def _waiting(self) -> None:
        """Start the prompts that wait for no answer of their chat: a crash, or the limit was raised or removed."""
        for user_id in await self._context.publisher.starter.waiting():
            await self._context.publisher.start_waiting(user_id)

    async def _forget(self) -> None:
        async with self._context.database.connection() as connection:
            now = datetime.now(UTC)
            await chats.forget_deleted(connection, before=now - KEEP_DELETED_FOR)
            await messages.forget_rejected(connection, before=now - KEEP_REJECTED_FOR)
            await limits.forget_admissions(connection, before=now - KEEP_ADMITTED_FOR)
            while await sessions.forget_ended(connection, now=now, limit=BATCH) == BATCH:
                pass
            if self._forget_guests_after is not None:
                unseen_since = now - self._forget_guests_after
                after: tuple[datetime, str] | None = users.LONGEST_AGO
                while after is not None:
                    after = await users.forget_guests(connection, unseen_since=unseen_since, after=after, limit=BATCH)

    async def _owners(self) -> None:
        now = datetime.now(UTC)
        async with self._context.database.connection() as connection:
            active = await generations.active_since(
                connection,
                claimed_before=now - CLAIMED_FOR,
                requested_before=now - timedelta(seconds=min(REQUESTED_FOR, self._orphan_after / 2)),
            )
        suspects = await self._orphans.find(active)
        known = {suspect.generation.id for suspect in suspects}
        self._absences = {key: value for key, value in self._absences.items() if key in known}
        if not suspects:
            return
        consumer = await self._context.js.consumer_info(CHAT.name, LLM_WORKER_REQUESTS.name)
        last = (await self._context.js.stream_info(CHAT.name)).state.last_seq
        delivered = consumer.delivered.stream_seq if consumer.delivered is not None else 0
        for suspect in suspects:
            generation = suspect.generation
            if generation.request_seq is None:
                continue
            if generation.request_seq > last:
                # The stream was lost or restored from before; so is the request.
                await self._again(generation, "request_gone")
            elif generation.request_seq > delivered:
                # It still waits for its turn.
                self._absences.pop(generation.id, None)
            elif consumer.num_waiting:
                absence = self._absences.get(generation.id) or Absence()
                self._absences[generation.id] = absence.after(self._owner_check, gone=suspect.gone)
                if absence.gone_seconds >= min(GONE_AFTER, self._orphan_after):
                    await self._end_or_again(generation, "worker_gone")
                elif absence.seconds >= self._orphan_after:
                    await self._end_or_again(generation, "without_owner")

    async def _end_or_again(self, generation: GenerationRecord, kind: str) -> None:
        if not await self._ended_in_stream(generation):
            await self._again(generation, kind)

    async def _ended_in_stream(self, generation: GenerationRecord) -> bool:
        """Whether the end of this attempt lies in the stream; then it is carried out."""
        try:
            stored = await self._context.js.get_last_msg(CHAT.name, subjects.generation_finished(generation.chat_id))
            event = msgspec.json.decode(stored.data or b"", type=GenerationFinished)
        except (nats.js.errors.NotFoundError, *UNDECODABLE):
            return False
        if event.generation_id != generation.id or event.attempt != generation.attempt:
            return False
        metrics.SWEPT.labels("end_found").inc(await self._finished.replay([stored]))
        return True

    async def _ends(self) -> None:
        """Carry out the ends that were delivered to somebody and have not been acknowledged for a while."""
        info = await self._context.js.consumer_info(CHAT.name, CHAT_STORE_FINISHED.name)
        if not info.num_ack_pending or info.ack_floor is None or info.delivered is None:
            self._unacknowledged_ends = UnacknowledgedEnds()
            return
        span = self._unacknowledged_ends.overdue(info.ack_floor.stream_seq, info.delivered.stream_seq, time.monotonic())
        if span is None:
            return
        ends = await stored_between(self._context.js, subjects.ANY_GENERATION_FINISHED, *span, limit=ENDS_BATCH)
        found = await self._finished.replay(ends)
        if found:
            log.warning("Carried out %d ends of answers that were delivered and not acknowledged", found)
            metrics.SWEPT.labels("end_found").inc(found)
        self._unacknowledged_ends.done(
            ends[-1].seq if len(ends) == ENDS_BATCH and ends[-1].seq is not None else span[1]
        )

    async def _again(self, generation: GenerationRecord, kind: str) -> None:
        log.warning("Requesting an answer again: %s", kind.replace("_", " "), extra={"generation_id": generation.id})
        metrics.SWEPT.labels(kind).inc()
        self._absences.pop(generation.id, None)
        await again_or_fail(self._context, generation.chat_id, generation.id, generation.request)
