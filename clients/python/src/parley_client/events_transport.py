"""One chat over server-sent events, for networks that break sockets: the same frames, the event id is the cursor."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import httpx
import msgspec

from parley.contracts import frames
from parley_client.api import Api
from parley_client.state import decode


class EventsLine:
    """Reads ``GET /v1/chats/{chat}/stream`` from a cursor on."""

    def __init__(self, api: Api, chat_id: str, on_frame: Callable[[frames.ServerFrame], None]) -> None:
        self._api = api
        self._chat_id = chat_id
        self._on_frame = on_frame
        self._data: list[bytes] = []
        self.last_event_id: str | None = None

    async def run(self, after: frames.Cursor | None) -> None:
        """Read until the stream ends, however it ends. Raises Problem when it is refused."""
        self.last_event_id = None if after is None else msgspec.json.encode(after).decode()
        with contextlib.suppress(httpx.TransportError):
            await self._api.stream(self._chat_id, self.last_event_id, self._line)

    def _line(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if self._data:
                frame = decode(b"\n".join(self._data))
                self._data.clear()
                if frame is not None:
                    self._on_frame(frame)
        elif name == b"data":
            self._data.append(value)
        elif name == b"id":
            self.last_event_id = value.decode()
