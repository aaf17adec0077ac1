"""Deliveries of one generation, and deliveries that fail."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import nats.errors
import pytest

from llm_worker.generation.dependencies import Dependencies
from llm_worker.jobs.job import Job
from llm_worker.jobs.ownership import OwnedGenerations
from llm_worker.jobs.slots import Slots
from parley.contracts.events import GenerationRequested
from parley.contracts.ids import new_id
from parley.runtime.nats.pull import Fetched
from tests.support.waiting import eventually

REQUESTED = GenerationRequested(
    chat_id=new_id(), generation_id=new_id(), message_id=new_id(), request=2, occurred_at=datetime.now(UTC)
)


class Subscription:
    async def unsubscribe(self) -> None: ...


class Nats:
    is_connected = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.asked = 0
        self.answer = asyncio.Event()

    async def request(self, *_: object, **__: object) -> None:
        """Whether the generation has an owner: nobody, once ``answer`` is set."""
        self.asked += 1
        await self.answer.wait()
        raise nats.errors.NoRespondersError

    async def subscribe(self, subject: str, cb: object) -> Subscription:
        await asyncio.sleep(0)
        return Subscription()

    async def publish(self, subject: str, payload: bytes) -> None:
        self.sent.append(payload)


def delivery(sequence: int, *, broken: bool = False) -> Fetched:
    message = SimpleNamespace(data=msgspec.json.encode(REQUESTED), reply="reply", headers=None)
    if not broken:
        message.metadata = SimpleNamespace(num_delivered=2, sequence=SimpleNamespace(stream=sequence))
    return Fetched(cast(Any, message), time.monotonic())


class Pulls:
    """Gives out deliveries, then nothing."""

    def __init__(self, *deliveries: Fetched) -> None:
        self._left = list(deliveries)

    async def next(self) -> Fetched:
        if not self._left:
            await asyncio.Event().wait()
        return self._left.pop(0)

    async def close(self) -> None: ...


class Harness:
    """Slots with a job that runs until ``end`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *deliveries: Fetched) -> None:
        self.nats = Nats()
        self.running = 0
        self.end, self.stop = asyncio.Event(), asyncio.Event()
        harness = self

        async def run(job: object, generation: object) -> None:
            harness.running += 1
            await harness.end.wait()

        monkeypatch.setattr(Job, "_run_generation", run)
        dependencies = SimpleNamespace(
            nc=self.nats, core=None, settings=SimpleNamespace(max_generations=9, shutdown_grace=0.0)
        )
        pulls = [Pulls(*deliveries)]
        self.slots = Slots(
            cast(Dependencies, dependencies), OwnedGenerations(cast(Any, self.nats)), cast(Any, pulls), ack_wait=30
        )


@pytest.mark.parametrize("sequences", [(1, 1), (1, 2)])
async def test_two_deliveries_of_one_generation_that_cross_make_one_answer(
    monkeypatch: pytest.MonkeyPatch, sequences: tuple[int, int]
) -> None:
    harness = Harness(monkeypatch, *map(delivery, sequences))
    running = asyncio.create_task(harness.slots.run(harness.stop))
    await eventually(lambda: harness.nats.asked == 2)
    harness.nats.answer.set()
    await eventually(lambda: harness.running == 1)
    harness.end.set()
    harness.stop.set()
    await running
    assert harness.running == 1
    assert len(harness.nats.sent) == len(set(sequences)) - 1, "the second request is acknowledged, the same one adopted"


async def test_a_delivery_that_raises_does_not_end_the_answers_of_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    harness = Harness(monkeypatch, delivery(1, broken=True), delivery(2))
    harness.nats.answer.set()
    running = asyncio.create_task(harness.slots.run(harness.stop))
    await eventually(lambda: harness.running == 1)
    assert "A request could not be returned to the stream" in caplog.text
    harness.end.set()
    harness.stop.set()
    await running
