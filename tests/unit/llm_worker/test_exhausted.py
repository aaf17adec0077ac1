"""All attempts are used up: the answer ends, whatever can still be read."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llm_worker import backoff
from llm_worker.generation import generation, segments
from llm_worker.generation.generation import Generation, Workbench
from llm_worker.generation.lease import Lease
from parley.contracts.events import GenerationFinished, GenerationRequested
from parley.contracts.ids import new_id
from parley.contracts.limits import MAX_ATTEMPTS
from parley.contracts.rpc import Claimed
from parley.runtime.nats.errors import BusUnavailable

REQUESTED = GenerationRequested(
    chat_id=new_id(), generation_id=new_id(), message_id=new_id(), request=1, occurred_at=datetime.now(UTC)
)


class Store:
    async def claim(self, requested: GenerationRequested) -> Claimed:
        return Claimed(
            chat_id=requested.chat_id,
            generation_id=requested.generation_id,
            message_id=requested.message_id,
            attempt=MAX_ATTEMPTS + 1,
            verdict="exhausted",
            model=None,
            context=[],
        )


class HeldLease:
    left = 10.0

    def check(self) -> None: ...

    async def acknowledge(self) -> None: ...


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[GenerationFinished]:
    found: list[GenerationFinished] = []

    async def publish(js: object, event: GenerationFinished, **_: object) -> None:
        found.append(event)

    monkeypatch.setattr(generation, "publish_durable", publish)
    monkeypatch.setattr(backoff, "delay", lambda *_, **__: 0.0)
    return found


async def run() -> None:
    bench = SimpleNamespace(nc=SimpleNamespace(is_connected=True), js=None, wire=None, store=Store())
    await Generation(REQUESTED, cast(Lease, HeldLease()), cast(Workbench, bench)).run()


async def test_what_was_left_behind_is_kept_though_it_took_two_tries_to_read(
    published: list[GenerationFinished], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def read_back(*_: Any, **__: Any) -> segments.Partial:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise BusUnavailable("segments")
        return segments.Partial(MAX_ATTEMPTS, "half of", "thinking")

    monkeypatch.setattr(segments, "read_back", read_back)
    await run()
    (end,) = published
    assert (end.outcome, end.text, end.reasoning) == ("failed", "half of", "thinking")


async def test_what_cannot_be_read_does_not_keep_the_answer_from_its_end(
    published: list[GenerationFinished], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def read_back(*_: Any, **__: Any) -> segments.Partial:
        raise BusUnavailable("segments")

    monkeypatch.setattr(segments, "read_back", read_back)
    await run()
    (end,) = published
    assert (end.outcome, end.text) == ("failed", "")
    assert end.error is not None
    assert end.error.code == "attempts_exhausted"
    assert "An answer ends without its partial text" in caplog.text
