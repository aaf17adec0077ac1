"""Finding running generations whose worker is gone (``docs/decisions/0008``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client

from chat_store.domain.records import GenerationRecord
from parley.contracts import rpc, subjects
from parley.contracts.decoding import UNDECODABLE

AT_ONCE: Final = 16
TIMEOUT: Final = 1.0
EACH_EVERY: Final = 4.0
"""Seconds until an owner that answered is asked again, as long as its worker answers for another generation."""

_QUESTION: Final = msgspec.json.encode(rpc.SnapshotRequest(brief=True))


class _Owner(Enum):
    ANSWERS = "it answers"
    SILENT = "it is connected and does not answer: paused, or busy"
    GONE = "NATS knows of no connection that would answer for this attempt"


class _Attempt(msgspec.Struct, frozen=True):
    """What matters here of a GenerationSnapshot."""

    attempt: int = 0


@dataclass(frozen=True)
class Suspect:
    """A generation that nobody answers for, or that nobody has claimed.

    Attributes:
        gone: Its worker's connection has ended.
    """

    generation: GenerationRecord
    gone: bool


@dataclass(frozen=True)
class Absence:
    """For how long in a row nobody has answered for a generation.

    Attributes:
        gone_seconds: For how long in a row its worker had no connection.
    """

    seconds: float = 0.0
    gone_seconds: float = 0.0

    def after(self, seconds: float, *, gone: bool) -> Absence:
        """Return the absence after a further round."""
        return Absence(self.seconds + seconds, self.gone_seconds + seconds if gone else 0.0)


class Orphans:
    """Asks workers whether they still make the answers that they claimed.

    One generation of each worker is asked about in each round, the newest; the worker's others only every
    ``EACH_EVERY`` seconds, or when nobody replies for that one. A worker that answers for an earlier attempt has lost
    the answer to the claim of another; for the attempt that counts it is nobody.
    """

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._answered: dict[str, float] = {}
        self._reconnects = 0

    async def find(self, active: Sequence[GenerationRecord]) -> list[Suspect]:
        """Return those of ``active`` that have no owner now, and those that wait for one.

        After a reconnect of our own none is reported as gone for one round: the workers are reconnecting, too.
        """
        self._answered = {one.id: self._answered[one.id] for one in active if one.id in self._answered}
        if not self._nc.is_connected:
            return []
        suspects = [Suspect(one, gone=False) for one in active if one.status == "requested"]
        running = [one for one in active if one.status == "running"]
        owners = await self._ask(_newest_of_each_worker(running))
        silent_workers = {one.worker_id for one in running if owners.get(one.id, _Owner.ANSWERS) is not _Owner.ANSWERS}
        now = time.monotonic()
        owners |= await self._ask(
            one
            for one in running
            if one.id not in owners
            and (one.worker_id in silent_workers or self._answered.get(one.id, 0.0) + EACH_EVERY <= now)
        )
        reconnected, self._reconnects = self._nc.stats["reconnects"] != self._reconnects, self._nc.stats["reconnects"]
        for one in running:
            match owners.get(one.id):
                case _Owner.ANSWERS:
                    self._answered[one.id] = now
                case _Owner.SILENT:
                    suspects.append(Suspect(one, gone=False))
                case _Owner.GONE:
                    suspects.append(Suspect(one, gone=not reconnected))
        return suspects

    async def _ask(self, generations: Iterable[GenerationRecord]) -> dict[str, _Owner]:
        async def ask(generation: GenerationRecord) -> tuple[str, _Owner]:
            async with self._at_once:
                return generation.id, await self._owner(generation)

        return dict(await asyncio.gather(*[ask(one) for one in generations]))

    async def _owner(self, generation: GenerationRecord) -> _Owner:
        subject = subjects.rpc_generation_snapshot(generation.id)
        try:
            reply = await self._nc.request(subject, _QUESTION, timeout=TIMEOUT)
        except nats.errors.NoRespondersError:
            return _Owner.GONE
        except nats.errors.TimeoutError:
            return _Owner.SILENT
        try:
            attempt = msgspec.json.decode(reply.data, type=_Attempt).attempt
        except UNDECODABLE:
            return _Owner.ANSWERS
        return _Owner.GONE if 0 < attempt < generation.attempt else _Owner.ANSWERS


def _newest_of_each_worker(running: Iterable[GenerationRecord]) -> list[GenerationRecord]:
    oldest_first = sorted(running, key=lambda one: one.claimed_at or one.created_at)
    return list({one.worker_id: one for one in oldest_first}.values())
