"""An AG-UI run, read with ``Last-Event-ID``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2

from parley.contracts.ids import new_id
from tests.chaos.protocols.reader import Ask, Reader, is_refusal

_PATH = "/ag-ui"


@asynccontextmanager
async def connect(url: str, key: str) -> AsyncIterator[Callable[[Ask], Reader]]:
    limits = httpx2.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60, trust_env=False) as http:
        yield lambda ask: RunReader(ask, http)


class RunReader(Reader):
    """Reads one run: by its POST again, or by GET."""

    def __init__(self, ask: Ask, http: httpx2.AsyncClient) -> None:
        super().__init__(ask)
        self._http = http
        self._thread_id = self.reading.chat_id = new_id()
        self._open: set[str] = set()  # messages that have started and not ended

    async def _read(self) -> None:
        numbers = self.reading.numbers
        headers = {"Last-Event-ID": str(numbers[-1])} if numbers else {}
        try:
            async with self._request(headers) as events:
                if events.response.status_code != 200:
                    await self._apply_refusal(events.response)
                    return
                async for event in events:
                    self.apply(int(event.id or -1), json.loads(event.data))
        except httpx2.HTTPError:
            pass

    def _request(self, headers: dict[str, str]) -> AbstractAsyncContextManager[httpx2.EventSource]:
        ids = {"threadId": self._thread_id, "runId": "run"}
        if self.reading.numbers and self._draw.random() < 0.5:
            return self._http.sse(_PATH, params=ids, headers=headers)
        run = {
            **ids,
            "messages": [{"id": "user", "role": "user", "content": self.ask.prompt}],
            "forwardedProps": {"model": self.ask.model},
        }
        return self._http.sse(_PATH, method="POST", json=run, headers=headers)

    async def _apply_refusal(self, response: httpx2.Response) -> None:
        body = (await response.aread()).decode()
        if is_refusal(response.status_code):
            self._refuse(body)

    def apply(self, number: int, event: dict[str, Any]) -> None:
        """Apply an event; ``number`` is the last that was sent, also where this event has none itself."""
        reading = self.reading
        is_numbered = number > max(reading.numbers, default=-1)
        match event:
            case {"type": "RUN_ERROR"} if not is_numbered:
                return  # no end: the stream cannot go on
            case {"type": "CUSTOM", "name": "parley.attempt"}:
                reading.text = reading.reasoning = ""
                self._open.clear()
            case {"type": "TEXT_MESSAGE_START" | "REASONING_MESSAGE_START", "messageId": message_id}:
                self._open.add(message_id)
            case {"type": "TEXT_MESSAGE_END" | "REASONING_MESSAGE_END", "messageId": message_id}:
                self._require_open(message_id)
                self._open.discard(message_id)
            case {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": delta}:
                self._require_open(message_id)
                reading.text += delta
            case {"type": "REASONING_MESSAGE_CONTENT", "messageId": message_id, "delta": delta}:
                self._require_open(message_id)
                reading.reasoning += delta
            case {"type": "RUN_FINISHED"}:
                reading.end = "complete"
                if self._open:
                    reading.problem = "a message has not ended"
            case {"type": "RUN_ERROR"}:
                reading.end = "failed"
        reading.numbers.append(number)

    def _require_open(self, message_id: str) -> None:
        if message_id not in self._open:
            self.reading.problem = "a message goes on that has not started"
