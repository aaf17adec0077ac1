"""Taking requests: a free slot first, then one message, then heartbeats at once (``docs/decisions/0002``)."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from llm_worker import metrics
from llm_worker.generation.generation import Generation, Workbench
from llm_worker.generation.lease import Lease
from llm_worker.jobs.job import Job
from llm_worker.jobs.ownership import Owners
from parley.contracts import events
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.events import GenerationRequested
from parley.contracts.ids import is_id
from parley.contracts.streams import LLM_WORKER_REQUESTS
from parley.runtime import tasks, tracing
from parley.runtime.nats import dead_letters
from parley.runtime.nats.errors import BusUnavailable
from parley.runtime.nats.pull import Fetched, PullConsumer

log = logging.getLogger(__name__)

_LINGER: Final = 10.0
"""Seconds that we still answer for an answer whose end is published: until chat-store has stored it, someone who joins
finds its text here."""

_AFTER_ERROR: Final = 5.0
_MOST_FAILURES: Final = 5


class Slots:
    """Makes at most ``max_generations`` answers at once.

    Args:
        pulls: Each asks for one request at a time, once there is a slot for it.
        ack_wait: Of the consumer, in seconds.
    """

    def __init__(self, bench: Workbench, owners: Owners, pulls: Sequence[PullConsumer], *, ack_wait: float) -> None:
        self._bench = bench
        self._owners = owners
        self._pulls = pulls
        self._ack_wait = ack_wait
        self._free = asyncio.Semaphore(bench.settings.max_generations)
        self._jobs: set[Job] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Take requests until ``stop`` is set; then let running answers go on for the grace, and hand back the rest."""
        async with asyncio.TaskGroup() as answers:
            taking = [answers.create_task(self._take(pull, answers)) for pull in self._pulls]
            await stop.wait()
            await tasks.end(*taking)
            for pull in self._pulls:
                await pull.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._bench.settings.shutdown_grace):
                    await self._idle.wait()
            self._closing.set()
            for job in list(self._jobs):
                job.hand_back()

    async def _take(self, pull: PullConsumer, answers: asyncio.TaskGroup) -> None:
        while True:
            await self._free.acquire()
            try:
                fetched = await pull.next()
            except BaseException:
                self._free.release()
                raise
            answers.create_task(self._serve(fetched))

    async def _serve(self, fetched: Fetched) -> None:
        lease = Lease(self._bench.nc, fetched.message, asked_at=fetched.requested_at, ack_wait=self._ack_wait)
        try:
            async with contextlib.AsyncExitStack() as owned:
                try:
                    generation = await self._answer(fetched, lease, owned)
                except Exception:
                    log.exception("A request failed for no reason that we know")
                    await self._try_later(fetched, lease)
                    return
                finally:
                    self._free.release()
                if generation is not None and generation.over:
                    # No slot is taken any more; what lingers is only the text.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LINGER):
                            await self._closing.wait()
        except Exception:
            # In the group of all answers, one that raises would end them all.
            log.exception("A request could not be given back")

    async def _answer(self, fetched: Fetched, lease: Lease, owned: contextlib.AsyncExitStack) -> Generation | None:
        """Make the answer that the message requests; None when there is none to make.

        Args:
            owned: We own the generation until it is closed.
        """
        requested = await self._decoded(fetched, lease)
        if requested is None or not await self._is_due(requested, fetched, lease):
            return None
        generation = Generation(requested, lease, self._bench)
        await owned.enter_async_context(self._owners.owning(generation))
        job = Job(generation, self._bench.store)
        self._jobs.add(job)
        self._idle.clear()
        metrics.RUNNING.inc()
        try:
            with tracing.span(
                f"{LLM_WORKER_REQUESTS.name} process",
                kind="consumer",
                parent=fetched.message.headers,
                attributes={"parley.chat_id": requested.chat_id, "parley.generation_id": requested.generation_id},
            ) as span:
                await job.run()
                span.set_attribute("parley.attempt", generation.attempt)
        finally:
            metrics.RUNNING.dec()
            self._jobs.discard(job)
            if not self._jobs:
                self._idle.set()
        return generation

    async def _try_later(self, fetched: Fetched, lease: Lease) -> None:
        """Give back a request that failed; one that keeps failing goes to the dead letters."""
        deliveries = fetched.message.metadata.num_delivered
        if deliveries < _MOST_FAILURES:
            await lease.nak(delay=_AFTER_ERROR)
        else:
            await self._dead_letter(fetched, lease, f"failed {deliveries} times; see the log of llm-worker")

    async def _decoded(self, fetched: Fetched, lease: Lease) -> GenerationRequested | None:
        """The event in the message; one that we cannot read goes to the dead letters."""
        try:
            requested = msgspec.json.decode(fetched.message.data, type=GenerationRequested)
            reason = _unreadable(requested)
            if reason is None:
                return requested
        except UNDECODABLE as error:
            reason = f"not a generation.requested: {error}"
        await self._dead_letter(fetched, lease, reason)
        return None

    async def _dead_letter(self, fetched: Fetched, lease: Lease, reason: str) -> None:
        log.error("Put a request with the dead letters: %s", reason)
        try:
            await dead_letters.publish(
                self._bench.js, consumer=LLM_WORKER_REQUESTS.name, message=fetched.message, reason=reason
            )
        except BusUnavailable as error:
            log.warning("It stays where it is for now: %s", error)
        else:
            metrics.DEAD_LETTERS.inc()
            await lease.terminate()

    async def _is_due(self, requested: GenerationRequested, fetched: Fetched, lease: Lease) -> bool:
        """Whether nobody is making this answer already.

        The same message comes again when the server has lost track of its deliveries (it was killed, say), and a second
        request when chat-store could not find the owner; in both cases the owner may be well.
        """
        if await self._is_ours(requested, fetched, lease):
            return False
        again = fetched.message.metadata.num_delivered > 1
        if (again or requested.request > 1) and await self._bench.store.is_owned(requested.generation_id):
            log.info("Another worker is making this answer", extra={"generation_id": requested.generation_id})
            if not again:
                await lease.acknowledge()
            # Else it is left alone: the owner's heartbeats and its acknowledgement are for this very message.
            return False
        # Another delivery of the same generation may have become ours while we asked.
        return not await self._is_ours(requested, fetched, lease)

    async def _is_ours(self, requested: GenerationRequested, fetched: Fetched, lease: Lease) -> bool:
        """Whether this process is making the answer already; then the delivery is dealt with. Does not wait if not."""
        ours = self._owners.get(requested.generation_id)
        if ours is None:
            return False
        same = ours.lease.message.metadata.sequence.stream == fetched.message.metadata.sequence.stream
        if ours.over or not same:
            await lease.acknowledge()
        elif ours.lease.is_held():
            ours.lease.adopt(fetched.message)
        else:
            await lease.nak(delay=1.0)
        return True


def _unreadable(requested: GenerationRequested) -> str | None:
    """Why we must not act on an event that decodes."""
    if requested.v > events.VERSION:
        return f"version {requested.v} is newer than {events.VERSION}"
    for name in (requested.chat_id, requested.generation_id, requested.message_id):
        if not is_id(name):
            return f"not an id: {name!r}"
    return None
