"""What the worker asks chat-store."""

import asyncio
import logging
from typing import Final

from nats.aio.client import Client

from llm_worker import backoff
from llm_worker.errors import WorkerError
from parley.contracts import subjects
from parley.contracts.events import GenerationRequested
from parley.contracts.ids import new_id
from parley.contracts.rpc import Claim, Claimed, Release, SnapshotRequest
from parley.runtime.nats.errors import BusUnavailable, NoResponder, RpcRefused
from parley.runtime.nats.requests import ask

log = logging.getLogger(__name__)

_TIMEOUT: Final = 3.0
_LONGEST_PAUSE: Final = 1.0
_TRANSIENT: Final = frozenset({"unavailable", "too_many"})
_ODD_REFUSALS: Final = 5
_OWNER_TIMEOUT: Final = 1.0


class StoreClient:
    """Requests to chat-store over core NATS.

    Args:
        worker_id: Names this process in what chat-store logs.
    """

    def __init__(self, nc: Client, *, worker_id: str) -> None:
        self._nc = nc
        self._worker_id = worker_id

    async def claim(self, requested: GenerationRequested) -> Claimed | None:
        """Claim a generation: its attempt rises by one. None: it is over, or never was.

        Waits for as long as chat-store is away; whoever calls gives up when the lease is lost. A claim whose reply was
        lost is repeated under the same id, and counts once.

        Raises:
            WorkerError: chat-store refuses for a reason that waiting does not cure.
        """
        claim = Claim(
            chat_id=requested.chat_id,
            generation_id=requested.generation_id,
            claim_id=new_id(),
            worker_id=self._worker_id,
        )
        tries = odd = 0
        while True:
            try:
                reply = await ask(self._nc, claim, timeout=_TIMEOUT)
                return reply if isinstance(reply, Claimed) else None
            except RpcRefused as refused:
                if refused.code == "not_found":
                    return None
                if refused.code not in _TRANSIENT:
                    odd += 1
                    if odd >= _ODD_REFUSALS:
                        raise WorkerError(f"claim refused: {refused.code}: {refused.message}") from refused
            except BusUnavailable as error:
                log.debug("Claiming again: %r", error)
            tries += 1
            await asyncio.sleep(backoff.delay(tries, first=0.1, longest=_LONGEST_PAUSE))

    async def release(self, generation_id: str, attempt: int) -> None:
        """Say that the attempt ends unused, in good order. Best effort: otherwise it counts against the limit."""
        if not self._nc.is_connected:
            return
        try:
            await ask(self._nc, Release(generation_id=generation_id, attempt=attempt), timeout=_TIMEOUT)
        except (BusUnavailable, RpcRefused) as error:
            log.warning("Could not release an attempt: %r", error, extra={"generation_id": generation_id})

    async def is_owned(self, generation_id: str) -> bool:
        """Whether some worker answers for the generation. One that is paused does not answer in time."""
        try:
            subject = subjects.rpc_generation_snapshot(generation_id)
            await ask(self._nc, SnapshotRequest(brief=True), subject=subject, timeout=_OWNER_TIMEOUT)
        except (NoResponder, BusUnavailable, RpcRefused):
            return False
        return True
