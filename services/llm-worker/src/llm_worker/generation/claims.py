"""Claims of generations, granted by chat-store (``docs/decisions/0005``)."""

import asyncio
import logging
from typing import Final

from nats.aio.client import Client

from llm_worker.errors import WorkerError
from parley.contracts.events import GenerationRequested
from parley.contracts.ids import new_id
from parley.contracts.rpc import Claim, Claimed, Release
from parley.runtime.backoff import Backoff
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from parley.runtime.nats.requests import ask

log = logging.getLogger(__name__)

_TIMEOUT: Final = 3.0
_TRANSIENT_CODES: Final = frozenset({"unavailable", "too_many"})
_MAX_UNEXPECTED_REFUSALS: Final = 5


class Claims:
    """Requests and releases claims.

    Args:
        worker_id: Names this process in the log of chat-store.
    """

    def __init__(self, nc: Client, *, worker_id: str) -> None:
        self._nc = nc
        self._worker_id = worker_id

    async def claim(self, requested: GenerationRequested) -> Claimed | None:
        """Claim a generation, which raises its attempt by one. None: it has ended or does not exist.

        Retries while chat-store is unavailable; the caller cancels it when the lease expires. A claim whose reply was
        lost is repeated under the same id, and counts once.

        Raises:
            WorkerError: chat-store refuses permanently.
        """
        claim = Claim(
            chat_id=requested.chat_id,
            generation_id=requested.generation_id,
            claim_id=new_id(),
            worker_id=self._worker_id,
        )
        backoff = Backoff(0.1, 1.0)
        unexpected = 0
        while True:
            try:
                reply = await ask(self._nc, claim, timeout=_TIMEOUT)
                return reply if isinstance(reply, Claimed) else None
            except RpcRefused as refused:
                if refused.code == "not_found":
                    return None
                if refused.code not in _TRANSIENT_CODES:
                    unexpected += 1
                    if unexpected >= _MAX_UNEXPECTED_REFUSALS:
                        raise WorkerError(f"claim refused: {refused.code}: {refused.message}") from refused
            except BusUnavailable as error:
                log.debug("Retrying a claim: %r", error)
            await asyncio.sleep(backoff.next_delay())

    async def release(self, generation_id: str, attempt: int) -> None:
        """End an attempt without an outcome, so that it does not count against the limit. Not retried."""
        if not self._nc.is_connected:
            return
        try:
            await ask(self._nc, Release(generation_id=generation_id, attempt=attempt), timeout=_TIMEOUT)
        except (BusUnavailable, RpcRefused) as error:
            log.warning("Could not release an attempt: %r", error, extra={"generation_id": generation_id})
