"""Who answers for which generation in this process."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from llm_worker.generation.generation import Generation
from parley.contracts import subjects
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.rpc import SnapshotRequest
from parley.runtime.nats.errors import TRANSIENT_ERRORS

log = logging.getLogger(__name__)

_ID: Final = 2
"""Where the generation's id stands in ``ctl.generation.<id>.stop``."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SnapshotRequest).decode


class Owners:
    """The generations that this process owns, and what others may ask of them.

    Each has a subscription of its own to its snapshot subject, so that NATS itself answers "no responders" for one that
    nobody owns (``docs/decisions/0008``). The stop signal is never answered: one subscription serves all.
    """

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._generations: dict[str, Generation] = {}

    def get(self, generation_id: str) -> Generation | None:
        return self._generations.get(generation_id)

    async def serve(self) -> Subscription:
        """Listen to stop signals."""
        return await self._nc.subscribe(subjects.ctl_generation_stop("*"), cb=self._on_stop)

    @contextlib.asynccontextmanager
    async def owning(self, generation: Generation) -> AsyncIterator[None]:
        """Be the owner of ``generation`` for as long as the body runs."""

        async def tell(message: Msg) -> None:
            if message.reply:
                snapshot = await generation.snapshot()
                if _is_brief(message.data):
                    snapshot = msgspec.structs.replace(snapshot, text="", reasoning="")
                with contextlib.suppress(*TRANSIENT_ERRORS):
                    await self._nc.publish(message.reply, _encode(snapshot))

        self._generations[generation.id] = generation
        # The server sees it before anything that we publish from here on: whoever learns of the claim finds the owner.
        subscription = await self._nc.subscribe(subjects.rpc_generation_snapshot(generation.id), cb=tell)
        try:
            yield
        finally:
            del self._generations[generation.id]
            try:
                await subscription.unsubscribe()
            except TRANSIENT_ERRORS as error:
                log.debug("Unsubscribing: %r", error)

    async def _on_stop(self, message: Msg) -> None:
        generation = self._generations.get(message.subject.split(".")[_ID])
        if generation is not None:
            generation.stop()


def _is_brief(request: bytes) -> bool:
    try:
        return _decode(request).brief
    except UNDECODABLE:
        return False
