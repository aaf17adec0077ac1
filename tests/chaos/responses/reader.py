"""A client that asks for a response in the background, and reads it with the official SDK across every cut."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
from openai import AsyncOpenAI

from parley_client.backoff import Backoff

TERMINAL = ("response.completed", "response.incomplete", "response.failed")

_CUTS = (openai.APIConnectionError, openai.InternalServerError, openai.APIError, httpx.HTTPError)
"""What a killed gateway, push or chat-store looks like to the SDK's user."""


@dataclass
class Reading:
    """What one client received.

    Attributes:
        numbers: ``sequence_number`` of each event, in the order in which they came.
        texts: The text of each item.
        cuts: How often the stream ended before the response.
        final: The response in the last event; empty: there was none.
    """

    number: int
    response_id: str = ""
    numbers: list[int] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    cuts: int = 0
    final: dict[str, Any] = field(default_factory=dict)

    def apply(self, event: dict[str, Any]) -> None:
        self.numbers.append(event["sequence_number"])
        if event["type"] == "response.output_text.delta":
            self.texts[event["item_id"]] = self.texts.get(event["item_id"], "") + event["delta"]
        elif event["type"] in TERMINAL:
            self.final = event["response"]


class ResponseReader:
    """Reads one response.

    Args:
        drop_every: Seconds after which, on average, the client itself drops its connection.
    """

    def __init__(self, sdk: AsyncOpenAI, number: int, model: str, seed: int, *, drop_every: float) -> None:
        self.reading = Reading(number)
        self._sdk = sdk
        self._model = model
        self._draw = random.Random(f"{seed}:{number}")
        self._drop_every = drop_every

    async def run(self) -> None:
        """Create the response, and read it until its last event."""
        await self._create()
        backoff = Backoff(0.1, 1.0)
        while not self.reading.final:
            try:
                async with asyncio.timeout(self._draw.uniform(0.5, 1.5) * self._drop_every):
                    await self._follow(backoff)
            except (TimeoutError, *_CUTS):
                pass
            if not self.reading.final:
                self.reading.cuts += 1
                await asyncio.sleep(backoff.next())

    async def _create(self) -> None:
        backoff = Backoff(0.1, 1.0)
        while True:
            try:
                response = await self._sdk.responses.create(
                    model=self._model,
                    input=f"response {self.reading.number}",
                    background=True,
                    extra_headers={"Idempotency-Key": f"response {self.reading.number}"},
                )
            except _CUTS:
                await asyncio.sleep(backoff.next())
            else:
                self.reading.response_id = response.id
                return

    async def _follow(self, backoff: Backoff) -> None:
        after = self.reading.numbers[-1] if self.reading.numbers else openai.omit
        stream = await self._sdk.responses.retrieve(self.reading.response_id, stream=True, starting_after=after)
        async with stream:
            async for event in stream:
                self.reading.apply(event.model_dump(mode="json"))
                backoff.reset()
