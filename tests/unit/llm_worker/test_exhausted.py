"""All attempts are exhausted: the answer ends, whether or not its stored text can be read."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llm_worker.generation import generation, segments
from llm_worker.generation.dependencies import Dependencies
from llm_worker.generation.generation import Generation
from llm_worker.generation.lease import Lease
from parley.contracts.events import GenerationFinished, GenerationRequested
from parley.contracts.ids import new_id
from parley.contracts.limits import MAX_ATTEMPTS
from parley.contracts.resources import MessageError, Usage
from parley.contracts.rpc import Claimed
from parley.runtime.backoff import Backoff
from parley.runtime.nats.errors import BusUnavailable

REQUESTED = GenerationRequested(
    chat_id=new_id(), generation_id=new_id(), message_id=new_id(), request=1, occurred_at=datetime.now(UTC)
)


class Claims:
    def __init__(self, error: MessageError | None) -> None:
        self._error = error

    async def claim(self, requested: GenerationRequested) -> Claimed:
        return Claimed(
            chat_id=requested.chat_id,
            generation_id=requested.generation_id,
            message_id=requested.message_id,
            attempt=MAX_ATTEMPTS + 1,
            verdict="exhausted",
            model=None,
            context=[],
            error=self._error,
        )


class ValidLease:
    remaining = 10.0

    def check(self) -> None: ...

    async def acknowledge(self) -> None: ...


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[GenerationFinished]:
    found: list[GenerationFinished] = []

    async def publish(js: object, event: GenerationFinished, **_: object) -> None:
        found.append(event)

    async def read_attempts(*_: Any, **__: Any) -> list[segments.StoredAttempt]:
        return []

    monkeypatch.setattr(generation, "publish_durable", publish)
    monkeypatch.setattr(segments, "read_attempts", read_attempts)
    monkeypatch.setattr(Backoff, "next_delay", lambda _: 0.0)
    return found


async def run(error: MessageError | None = None) -> None:
    dependencies = SimpleNamespace(nc=SimpleNamespace(is_connected=True), js=None, core=None, claims=Claims(error))
    await Generation(REQUESTED, cast(Lease, ValidLease()), cast(Dependencies, dependencies)).run()


async def test_stored_text_is_kept_when_the_first_read_fails(
    published: list[GenerationFinished], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def read_attempts(*_: Any, **__: Any) -> list[segments.StoredAttempt]:
        nonlocal tries
        tries += 1
        if tries <= 2:  # to book the tokens, and for the text
            raise BusUnavailable("segments")
        return [segments.StoredAttempt(MAX_ATTEMPTS, "half of", "thinking")]

    monkeypatch.setattr(segments, "read_attempts", read_attempts)
    await run()
    (end,) = published
    assert (end.outcome, end.text, end.reasoning) == ("failed", "half of", "thinking")


async def test_an_answer_ends_when_its_stored_text_cannot_be_read(
    published: list[GenerationFinished], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def read_attempts(*_: Any, **__: Any) -> list[segments.StoredAttempt]:
        raise BusUnavailable("segments")

    monkeypatch.setattr(segments, "read_attempts", read_attempts)
    await run()
    (end,) = published
    assert (end.outcome, end.text) == ("failed", "")
    assert end.error is not None
    assert end.error.code == "attempts_exhausted"
    assert "An answer ends without its partial content" in caplog.text


async def test_an_answer_that_chat_store_does_not_let_the_provider_be_called_for_ends_with_its_error_and_no_usage(
    published: list[GenerationFinished],
) -> None:
    refused = MessageError(code="budget_spent", message="Your tokens for today are used up.", retryable=True)
    await run(refused)
    (end,) = published
    assert (end.outcome, end.error, end.usage) == ("failed", refused, None)


async def test_what_other_workers_stored_before_they_died_is_booked_as_an_estimate(
    published: list[GenerationFinished], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = segments.StoredAttempt(MAX_ATTEMPTS + 1, "which was booked here", "")

    async def read_attempts(*_: Any, **__: Any) -> list[segments.StoredAttempt]:
        return [segments.StoredAttempt(1, "half", "thinking"), segments.StoredAttempt(2, "of eight", ""), own]

    monkeypatch.setattr(segments, "read_attempts", read_attempts)
    await run()
    (end,) = published
    assert end.usage == Usage(input_tokens=0, output_tokens=1 + 2 + 2, estimated=True)
