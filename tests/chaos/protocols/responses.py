"""A response in the background, read with OpenAI's SDK and ``starting_after``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI

from gateway.protocols.openai.responses_ids import answer_of
from tests.chaos.protocols.reader import Ask, End, Reader, is_refusal

_ENDS: dict[str, End] = {"response.completed": "complete", "response.failed": "failed"}
_DELTAS = ("response.output_text.delta", "response.reasoning_summary_text.delta")


@asynccontextmanager
async def connect(url: str, key: str) -> AsyncIterator[Callable[[Ask], Reader]]:
    async with AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=key) as sdk:
        yield lambda ask: ResponseReader(ask, sdk)


class ResponseReader(Reader):
    """Reads one response."""

    def __init__(self, ask: Ask, sdk: AsyncOpenAI) -> None:
        super().__init__(ask)
        self._sdk = sdk
        self._id = ""
        self._streamed: dict[str, str] = {}

    async def _read(self) -> None:
        try:
            if not self._id:
                await self._create()
            await self._follow()
        except openai.APIStatusError as error:
            if is_refusal(error.status_code):
                self._refuse(str(error))
        except (openai.APIError, httpx2.HTTPError):
            pass

    async def _create(self) -> None:
        response = await self._sdk.responses.create(
            model=self.ask.model,
            input=self.ask.prompt,
            background=True,
            extra_headers={"Idempotency-Key": self.ask.prompt},
        )
        self._id = response.id
        self.reading.chat_id = answer_of(response.id).chat_id

    async def _follow(self) -> None:
        after = self.reading.numbers[-1] if self.reading.numbers else openai.omit
        stream = await self._sdk.responses.retrieve(self._id, stream=True, starting_after=after)
        async with stream:
            async for event in stream:
                self.apply(event.model_dump(mode="json"))

    def apply(self, event: dict[str, Any]) -> None:
        self.reading.numbers.append(event["sequence_number"])
        if event["type"] in _DELTAS:
            self._streamed[event["item_id"]] = self._streamed.get(event["item_id"], "") + event["delta"]
        elif event["type"] in _ENDS:
            self.reading.end = _ENDS[event["type"]]
            for item in event["response"]["output"]:
                if item["status"] == "completed":
                    self._apply_item(item)

    def _apply_item(self, item: dict[str, Any]) -> None:
        """Take over the text of an item that is complete; that of a dropped attempt is not."""
        parts = item["content"] if item["type"] == "message" else item["summary"]
        text = "".join(part["text"] for part in parts)
        if self._streamed.get(item["id"], "") != text:
            self.reading.problem = "the deltas of an item are not its text"
        if item["type"] == "message":
            self.reading.text += text
        else:
            self.reading.reasoning += text
