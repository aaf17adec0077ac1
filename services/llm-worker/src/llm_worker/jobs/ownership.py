"""Which generations this process owns, and the requests that only their owner answers."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from llm_worker.generation.generation import Generation
from parley.contracts import subjects
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.rpc import SnapshotRequest, ToolDecided
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable, RpcRefused
from parley.runtime.nats.requests import ask

log = logging.getLogger(__name__)

_ID: Final = 2
"""The position of the generation's id in ``ctl.generation.<id>.stop`` and ``….decided``."""

_OWNER_TIMEOUT: Final = 1.0

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SnapshotRequest).decode
_decode_decision = msgspec.json.Decoder(ToolDecided).decode


class OwnedGenerations:
    """The generations that this process owns.

    Each has its own subscription to its snapshot subject, so that NATS answers "no responders" for a generation without
    an owner (``docs/decisions/0008``). A stop signal has no reply: one subscription serves all.
    """

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._generations: dict[str, Generation] = {}

    def get(self, generation_id: str) -> Generation | None:
        return self._generations.get(generation_id)

    async def has_owner(self, generation_id: str) -> bool:
        """Whether some worker answers for the generation. A suspended one does not reply in time."""
        subject = subjects.rpc_generation_snapshot(generation_id)
        try:
            await ask(self._nc, SnapshotRequest(brief=True), subject=subject, timeout=_OWNER_TIMEOUT)
        except (BusUnavailable, RpcRefused):
            return False
        return True

    async def serve(self) -> None:
        """Subscribe to the signals for generations: stop, and decisions on calls of tools."""
        await self._nc.subscribe(subjects.ctl_generation_stop("*"), cb=self._on_stop)
        await self._nc.subscribe(subjects.ctl_generation_decided("*"), cb=self._on_decided)

    @contextlib.asynccontextmanager
    async def own(self, generation: Generation) -> AsyncIterator[None]:
        """Answer snapshot requests and stop signals for ``generation`` while the body runs."""

        async def on_snapshot(message: Msg) -> None:
            if message.reply:
                snapshot = await generation.snapshot()
                if _is_brief(message.data):
                    snapshot = msgspec.structs.replace(snapshot, text="", reasoning="", tool_calls=[], layout=[])
                with contextlib.suppress(*TRANSIENT_ERRORS):
                    await self._nc.publish(message.reply, _encode(snapshot))

        self._generations[generation.id] = generation
        # The server gets it before anything that is published from here on: who learns of the claim finds the owner.
        subscription = await self._nc.subscribe(subjects.rpc_generation_snapshot(generation.id), cb=on_snapshot)
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

    async def _on_decided(self, message: Msg) -> None:
        generation = self._generations.get(message.subject.split(".")[_ID])
        if generation is not None:
            with contextlib.suppress(*UNDECODABLE):
                decided = _decode_decision(message.data)
                generation.decide(decided.call_id, approved=decided.approved)


def _is_brief(request: bytes) -> bool:
    try:
        return _decode(request).brief
    except UNDECODABLE:
        return False
