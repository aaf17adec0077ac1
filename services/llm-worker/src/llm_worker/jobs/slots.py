"""Fetches requests: first a free slot, then one message, then heartbeats at once (``docs/decisions/0002``)."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from llm_worker.generation.dependencies import Dependencies
from llm_worker.jobs.job import Job
from llm_worker.jobs.ownership import OwnedGenerations
from parley.runtime import tasks
from parley.runtime.nats.pull import Fetched, PullConsumer

log = logging.getLogger(__name__)

_SNAPSHOT_TIME: Final = 10.0
"""Seconds that a snapshot is served after the end is published: until chat-store has stored it, a new reader gets the
text here."""


class Slots:
    """Makes at most ``max_generations`` answers at once. Owns the tasks of all of them.

    Args:
        consumers: Each fetches one request at a time, once there is a slot for it.
        ack_wait: Of the consumer, in seconds.
    """

    def __init__(
        self, dependencies: Dependencies, owned: OwnedGenerations, consumers: Sequence[PullConsumer], *, ack_wait: float
    ) -> None:
        self._dependencies = dependencies
        self._owned = owned
        self._consumers = consumers
        self._ack_wait = ack_wait
        self._free = asyncio.Semaphore(dependencies.settings.max_generations)
        self._jobs: set[Job] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Fetch requests until ``stop`` is set, then drain: running answers get the grace period, then are released."""
        async with asyncio.TaskGroup() as jobs:
            fetching = [jobs.create_task(self._fetch(consumer, jobs)) for consumer in self._consumers]
            await stop.wait()
            await tasks.end(*fetching)
            for consumer in self._consumers:
                await consumer.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._dependencies.settings.shutdown_grace):
                    await self._idle.wait()
            self._draining.set()
            for job in list(self._jobs):
                job.release()

    async def _fetch(self, consumer: PullConsumer, jobs: asyncio.TaskGroup) -> None:
        while True:
            await self._free.acquire()
            try:
                delivery = await consumer.next()
            except BaseException:
                self._free.release()
                raise
            jobs.create_task(self._run_job(delivery))

    async def _run_job(self, delivery: Fetched) -> None:
        try:
            job = Job(delivery, self._dependencies, self._owned, ack_wait=self._ack_wait)
            async with contextlib.AsyncExitStack() as ownership:
                finished = await self._in_slot(job, ownership)
                if finished:
                    # The slot is free again; only the text is still served.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_SNAPSHOT_TIME):
                            await self._draining.wait()
        except Exception:
            # An exception that left the task group would end all answers.
            log.exception("A request could not be returned to the stream")

    async def _in_slot(self, job: Job, ownership: contextlib.AsyncExitStack) -> bool:
        self._jobs.add(job)
        self._idle.clear()
        try:
            return await job.run(ownership)
        finally:
            self._jobs.discard(job)
            if not self._jobs:
                self._idle.set()
            self._free.release()
