"""One request in our hands: the answer is made for as long as the lease is held."""

import asyncio
import logging

from llm_worker import metrics
from llm_worker.errors import LeaseLost
from llm_worker.generation.generation import Generation
from llm_worker.store_client import StoreClient
from parley.runtime import tasks

log = logging.getLogger(__name__)


class Job:
    """Runs a generation beside its lease; whichever ends first ends the other."""

    def __init__(self, generation: Generation, store: StoreClient) -> None:
        self._generation = generation
        self._store = store
        self._work: asyncio.Task[None] | None = None
        self._handed_back = False

    def hand_back(self) -> None:
        """Close the provider connection and let another worker make the answer."""
        self._handed_back = True
        if self._work is not None:
            self._work.cancel()

    async def run(self) -> None:
        """Return when the request is done with: answered, handed back, or no longer ours.

        Raises:
            WorkerError: and anything unexpected; the request is still ours.
        """
        generation = self._generation
        self._work = asyncio.create_task(generation.run())
        if self._handed_back:
            self._work.cancel()
        keep = asyncio.create_task(generation.lease.keep())
        try:
            await asyncio.wait({self._work, keep}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await tasks.end(self._work)
            # The heartbeats go on while the provider's connection is closed, unless they are what ended.
            await tasks.end(keep)
        if generation.over:
            return
        if self._work.cancelled():
            if self._handed_back and generation.lease.is_held():
                await self._give_back()
            else:
                self._lose()
        elif (error := self._work.exception()) is not None:
            if not isinstance(error, LeaseLost):
                raise error
            self._lose()

    async def _give_back(self) -> None:
        generation = self._generation
        if generation.attempt:
            await self._store.release(generation.id, generation.attempt)
        if await generation.lease.nak():
            metrics.HANDED_BACK.inc()
            log.info("Handed an answer back", extra={"generation_id": generation.id})

    def _lose(self) -> None:
        # Nothing is published and nothing acknowledged: by now it may be another worker's.
        metrics.LEASES_LOST.inc()
        log.warning("Gave an answer up: our heartbeats were late", extra={"generation_id": self._generation.id})
