"""One generation on a scripted provider, with all that is around it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from llm_worker.errors import ProviderError
from llm_worker.generation.dependencies import Dependencies
from llm_worker.generation.generation import Generation
from llm_worker.generation.lease import Lease
from llm_worker.generation.segments import SegmentInterval
from llm_worker.provider.models import Models
from llm_worker.settings import WorkerSettings
from llm_worker.tools.toolbox import ToolServers
from parley.contracts.completion import ToolRound
from parley.contracts.events import GenerationRequested
from parley.contracts.ids import new_id
from parley.contracts.limits import MAX_ATTEMPTS
from parley.contracts.rpc import Claimed, ContextMessage
from tests.unit.llm_worker.test_completion import event

Reads = Sequence[bytes | Exception | float]
"""What one request yields: reads, an exception, seconds of silence."""


COUNT = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Scripted:
    """A provider that plays one script for each request; the last one repeatedly."""

    def __init__(self, *scripts: Reads | ProviderError) -> None:
        self.scripts = scripts
        self.asked: list[tuple[float, str, Mapping[str, Any]]] = []
        self.closed = 0

    @contextlib.asynccontextmanager
    async def stream(self, model: str, members: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append((time.monotonic(), model, members))
        script = self.scripts[min(len(self.asked), len(self.scripts)) - 1]
        if isinstance(script, ProviderError):
            raise script
        try:
            yield self._bring(script)
        finally:
            self.closed += 1

    async def _bring(self, script: Reads) -> AsyncIterator[bytes]:
        for item in script:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, float):
                await asyncio.sleep(item)
            else:
                yield item


class Claims:
    """Grants as many attempts as chat-store does."""

    def __init__(self, context: Sequence[ContextMessage], model: str | None) -> None:
        self.attempt = 0
        self.context = list(context)
        self.model = model
        self.parameters: dict[str, Any] = {}
        self.rounds: list[ToolRound] = []
        self.decisions: dict[str, bool] = {}
        self.rounds_of: Callable[[], list[ToolRound]] = lambda: self.rounds

    async def claim(self, requested: GenerationRequested) -> Claimed:
        self.attempt += 1
        return Claimed(
            chat_id=requested.chat_id,
            generation_id=requested.generation_id,
            message_id=requested.message_id,
            attempt=self.attempt,
            verdict="stream" if self.attempt <= MAX_ATTEMPTS else "exhausted",
            model=self.model,
            context=self.context,
            parameters=self.parameters,
            rounds=self.rounds_of(),
            decisions=self.decisions,
        )


class ValidLease:
    remaining = 10.0

    def check(self) -> None: ...

    def is_valid(self) -> bool:
        return True

    async def acknowledge(self) -> None: ...


class Live:
    """Collects the live frames."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.on_frame: Callable[[], None] = lambda: None

    def publish(self, subject: bytes, payload: bytes, headers: object = None) -> None:
        self.frames.append(msgspec.json.decode(payload))
        self.on_frame()

    def text(self, kind: str = "text") -> str:
        """Of the last attempt with text."""
        deltas = [frame for frame in self.frames if frame["type"] == "delta"]
        return "".join(f["text"] for f in deltas if (f["attempt"], f["kind"]) == (deltas[-1]["attempt"], kind))


class Run:
    """One generation on a scripted provider."""

    def __init__(self, *scripts: Reads | ProviderError, model: str | None = "m", **settings: Any) -> None:
        self.provider = Scripted(*scripts)
        self.claims = Claims([ContextMessage(role="user", content="What time is it?")], model)
        self.live = Live()

        async def listed() -> list[str]:
            return ["m"]

        dependencies = SimpleNamespace(
            nc=SimpleNamespace(is_connected=True),
            js=None,
            core=self.live,
            segments=SegmentInterval(),
            claims=self.claims,
            provider=self.provider,
            models=Models(listed, chosen=None),
            tools=ToolServers([]),
            settings=WorkerSettings(nats_url="nats://unused", **settings),
        )
        requested = GenerationRequested(
            chat_id=new_id(), generation_id=new_id(), message_id=new_id(), request=1, occurred_at=LONG_AGO
        )
        self.generation = Generation(requested, cast(Lease, ValidLease()), cast(Dependencies, dependencies))


Ended = Callable[[Run], Any]
