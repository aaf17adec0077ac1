"""Fixtures of the tests of a generation."""

import asyncio
from typing import Any

import pytest

from llm_worker.generation import generation
from parley.contracts.events import GenerationFinished
from parley.runtime.backoff import Backoff
from tests.unit.llm_worker.scripted_run import Ended, Run


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Ended:
    """``await ended(run)`` runs to the end that is published, with hardly a wait between tries."""
    found: list[GenerationFinished] = []

    async def publish(js: object, happened: Any, **_: object) -> None:
        if isinstance(happened, GenerationFinished):
            found.append(happened)

    async def run_to_its_end(run: Run) -> GenerationFinished:
        async with asyncio.timeout(20):
            await run.generation.run()
        (end,) = found
        assert (end.text, end.reasoning) == (run.live.text(), run.live.text("reasoning")), "readers saw what is stored"
        return end

    monkeypatch.setattr(generation, "publish_durable", publish)
    monkeypatch.setattr(Backoff, "next_delay", lambda _: 0.001)
    return run_to_its_end
