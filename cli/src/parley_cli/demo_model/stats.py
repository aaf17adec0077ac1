"""Statistics of the requests, for tests and benchmarks: ``GET /stats``, ``POST /stats/reset``."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Literal

import msgspec

_KEPT = 5000
_PROMPT_SHOWN = 200

StreamEnd = Literal["done", "closed_by_client", "cut"]


class StreamRecord(msgspec.Struct, kw_only=True):
    """One streamed answer. Times are ``time.monotonic()``, the same clock for every process of a machine.

    Attributes:
        prompt: The beginning of the user's last message.
        end: ``closed_by_client``: the client closed the connection before the end. Null while it runs.
    """

    model: str
    prompt: str
    started: float
    tokens: int = 0
    ended: float | None = None
    end: StreamEnd | None = None


class Snapshot(msgspec.Struct, kw_only=True):
    requests: int
    open_streams: int
    closed_by_client: int
    open_connections: int
    answers: dict[str, int]
    requests_by_model: dict[str, int]
    streams: list[StreamRecord]


class Stats:
    """Counters since the start or the last reset, and the newest streams."""

    def __init__(self) -> None:
        self.open_connections = 0
        self.reset()

    def reset(self) -> None:
        self._requests: Counter[str] = Counter()
        self._answers: Counter[int] = Counter()
        self._ends: Counter[str] = Counter()
        self._streams: deque[StreamRecord] = deque(maxlen=_KEPT)
        self._open: dict[int, StreamRecord] = {}

    def requested(self, model: str) -> None:
        self._requests[model] += 1

    def answered(self, status: int) -> None:
        self._answers[status] += 1

    def began(self, model: str, prompt: str) -> StreamRecord:
        record = StreamRecord(model=model, prompt=prompt[:_PROMPT_SHOWN], started=time.monotonic())
        self._streams.append(record)
        self._open[id(record)] = record
        return record

    def ended(self, record: StreamRecord, end: StreamEnd) -> None:
        record.ended, record.end = time.monotonic(), end
        # A stream from before a reset is no longer counted.
        if self._open.pop(id(record), None) is not None:
            self._ends[end] += 1

    def snapshot(self) -> Snapshot:
        return Snapshot(
            requests=self._requests.total(),
            open_streams=len(self._open),
            closed_by_client=self._ends["closed_by_client"],
            open_connections=self.open_connections,
            answers={str(status): count for status, count in sorted(self._answers.items())},
            requests_by_model=dict(self._requests),
            streams=list(self._streams),
        )
