"""One delivery of a request for an answer: check it, make the answer while the lease is valid, end the delivery."""

import asyncio
import contextlib
import logging
from typing import Final

import msgspec

from llm_worker import metrics
from llm_worker.errors import LeaseLost
from llm_worker.generation.dependencies import Dependencies
from llm_worker.generation.generation import Generation
from llm_worker.generation.lease import Lease
from llm_worker.jobs.ownership import OwnedGenerations
from parley.contracts import events
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.events import GenerationRequested
from parley.contracts.ids import is_id
from parley.contracts.streams import LLM_WORKER_REQUESTS
from parley.runtime import tasks, tracing
from parley.runtime.nats import dead_letters
from parley.runtime.nats.errors import BusUnavailable
from parley.runtime.nats.pull import Fetched

log = logging.getLogger(__name__)

_NAK_DELAY: Final = 5.0
_MAX_DELIVERIES: Final = 5


class Job:
    """One delivery. Its lease is the first thing that starts.

    Args:
        ack_wait: Of the consumer, in seconds.
    """

    def __init__(
        self, delivery: Fetched, dependencies: Dependencies, owned: OwnedGenerations, *, ack_wait: float
    ) -> None:
        self._message = delivery.message
        self._lease = Lease(dependencies.nc, delivery.message, requested_at=delivery.requested_at, ack_wait=ack_wait)
        self._dependencies = dependencies
        self._owned = owned
        self._work: asyncio.Task[None] | None = None
        self._released = False

    def release(self) -> None:
        """Close the provider connection and let another worker make the answer."""
        self._released = True
        if self._work is not None:
            self._work.cancel()

    async def run(self, ownership: contextlib.AsyncExitStack) -> bool:
        """Return when the delivery is acknowledged, released or lost; whether the answer's end was stored here.

        An unexpected error is logged, and the delivery retried later.

        Args:
            ownership: Closed by the caller when this process no longer answers for the generation.
        """
        try:
            requested = await self._decode()
            if requested is None or not await self._is_unowned(requested):
                return False
            generation = Generation(requested, self._lease, self._dependencies)
            await ownership.enter_async_context(self._owned.own(generation))
            with tracing.span(
                f"{LLM_WORKER_REQUESTS.name} process",
                kind="consumer",
                parent=self._message.headers,
                attributes={"parley.chat_id": requested.chat_id, "parley.generation_id": requested.generation_id},
            ) as span:
                await self._run_generation(generation)
                span.set_attribute("parley.attempt", generation.attempt)
            return generation.finished
        except Exception:
            log.exception("A request failed unexpectedly")
            await self._retry_later()
            return False

    async def _run_generation(self, generation: Generation) -> None:
        """Run a generation and its heartbeats; the end of one ends the other.

        Raises:
            WorkerError: and anything unexpected; the lease is still valid.
        """
        self._work = asyncio.create_task(generation.run())
        if self._released:
            self._work.cancel()
        heartbeats = asyncio.create_task(self._lease.renew())
        metrics.RUNNING.inc()
        try:
            await asyncio.wait({self._work, heartbeats}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            metrics.RUNNING.dec()
            await tasks.end(self._work)
            # The heartbeats continue while the provider's connection is closed, unless they are what ended.
            await tasks.end(heartbeats)
        if generation.finished:
            return
        error = None if self._work.cancelled() else self._work.exception()
        if self._work.cancelled() and self._released and self._lease.is_valid():
            await self._give_up_attempt(generation)
        elif self._work.cancelled() or isinstance(error, LeaseLost):
            # Publish nothing, acknowledge nothing: another worker may own it by now.
            metrics.LEASES_LOST.inc()
            log.warning("Dropped an answer: heartbeats were late", extra={"generation_id": generation.id})
        elif error is not None:
            raise error

    async def _give_up_attempt(self, generation: Generation) -> None:
        if generation.attempt:
            await self._dependencies.claims.release(generation.id, generation.attempt)
        if await self._lease.nak():
            metrics.RELEASED.inc()
            log.info("Released an answer to another worker", extra={"generation_id": generation.id})

    # --- what to do with a delivery ----------------------------------------------------------------------------------

    async def _decode(self) -> GenerationRequested | None:
        """Decode the event; one that cannot be handled is dead-lettered."""
        try:
            requested = msgspec.json.decode(self._message.data, type=GenerationRequested)
            reason = _invalid(requested)
            if reason is None:
                return requested
        except UNDECODABLE as error:
            reason = f"not a generation.requested: {error}"
        await self._dead_letter(reason)
        return None

    async def _is_unowned(self, requested: GenerationRequested) -> bool:
        """Whether no worker is making this answer.

        A message is redelivered when the server has lost its deliveries (after a kill, for example), and chat-store
        sends a second request when it could not find the owner; the owner may be well in both cases.
        """
        if await self._is_owned_here(requested):
            return False
        redelivered = self._message.metadata.num_delivered > 1
        if (redelivered or requested.request > 1) and await self._owned.has_owner(requested.generation_id):
            log.info("Another worker is making this answer", extra={"generation_id": requested.generation_id})
            if not redelivered:
                await self._lease.acknowledge()
            # A redelivery is left alone: the owner's heartbeats and acknowledgement are for this very message.
            return False
        # This process may have started on another delivery of the same generation meanwhile.
        return not await self._is_owned_here(requested)

    async def _is_owned_here(self, requested: GenerationRequested) -> bool:
        """Whether this process is making the answer; then the delivery is done with. Does not wait if not."""
        generation = self._owned.get(requested.generation_id)
        if generation is None:
            return False
        lease = generation.lease
        same = lease.message.metadata.sequence.stream == self._message.metadata.sequence.stream
        if generation.finished or not same:
            await self._lease.acknowledge()
        elif lease.is_valid():
            lease.message = self._message
        else:
            await self._lease.nak(delay=1.0)
        return True

    async def _retry_later(self) -> None:
        """Ask for redelivery; a request that keeps failing is dead-lettered."""
        deliveries = self._message.metadata.num_delivered
        if deliveries < _MAX_DELIVERIES:
            await self._lease.nak(delay=_NAK_DELAY)
        else:
            await self._dead_letter(f"failed {deliveries} times; see the log of llm-worker")

    async def _dead_letter(self, reason: str) -> None:
        log.error("Dead-lettering a request: %s", reason)
        try:
            await dead_letters.publish(
                self._dependencies.js, consumer=LLM_WORKER_REQUESTS.name, message=self._message, reason=reason
            )
        except BusUnavailable as error:
            log.warning("The request stays in the stream: %s", error)
        else:
            metrics.DEAD_LETTERS.inc()
            await self._lease.terminate()


def _invalid(requested: GenerationRequested) -> str | None:
    """Why a decoded event must not be handled."""
    if requested.v > events.VERSION:
        return f"version {requested.v} is newer than {events.VERSION}"
    for name in (requested.chat_id, requested.generation_id, requested.message_id):
        if not is_id(name):
            return f"not an id: {name!r}"
    return None
