"""One streamed answer, from its script to the socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from parley_cli.demo_model import chunks
from parley_cli.demo_model.behaviours import SERVER_ERROR, End, Kind, Script, Step
from parley_cli.demo_model.http import Connection
from parley_cli.demo_model.request import ChatRequest
from parley_cli.demo_model.stats import Stats, StreamRecord
from parley_cli.demo_model.wheel import Wheel

_AT_ONCE = 16
"""Tokens without a delay between them that are written before other tasks run."""


class Stream:
    """Plays a script to a connection, each token at its time; waits while the client does not read."""

    def __init__(
        self, request: ChatRequest, script: Script, connection: Connection, wheel: Wheel, stats: Stats
    ) -> None:
        self._request = request
        self._script = script
        self._steps: Iterator[Step] = iter(script.steps)
        self._connection = connection
        self._wheel = wheel
        self._stats = stats
        self._writer = chunks.ChunkWriter(request)
        self._limit = request.token_limit
        self._due = 0.0
        self._next: Step | None = None
        self._waits_for_client = False
        self._record: StreamRecord

    def start(self) -> None:
        self._record = self._stats.began(self._request.model, self._request.prompt)
        self._stats.answered(200)
        self._connection.on_lost = self._lost
        self._connection.on_writable = self._writable
        self._connection.write(chunks.HEAD + self._writer.role())
        self._due = asyncio.get_running_loop().time()
        self._schedule()

    def _schedule(self) -> None:
        """Take the next step from the script and wait for its time."""
        while True:
            if self._limit is not None and self._record.tokens >= self._limit:
                self._finish("length")
                return
            step = next(self._steps, None)
            if step is None:
                self._end()
                return
            self._next = step
            if step[0] > 0:
                self._due += step[0]
                self._wheel.at(self._due, self._play)
                return
            if self._connection.paused:
                self._waits_for_client = True
                return
            if self._record.tokens % _AT_ONCE == 0:
                # Let other streams run.
                self._wheel.at(self._due, self._play)
                return
            self._write()

    def _play(self) -> None:
        if self._record.end is not None:
            return
        if self._connection.paused:
            self._waits_for_client = True
            return
        self._write()
        self._schedule()

    def _write(self) -> None:
        assert self._next is not None
        _, kind, text = self._next
        self._connection.write(self._writer.token(kind, text))
        self._record.tokens += 1

    def _writable(self) -> None:
        if self._waits_for_client:
            self._waits_for_client = False
            self._due = asyncio.get_running_loop().time()
            self._play()

    def _lost(self) -> None:
        self._stats.ended(self._record, "closed_by_client")

    # --- ends --------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        match self._script.end:
            case None:
                self._finish(self._script.finish_reason)
            case End.NO_DONE:
                self._close(self._writer.finish(self._script.finish_reason))
            case End.ERROR:
                self._close(chunks.framed(SERVER_ERROR.body))
            case End.CUT:
                self._stats.ended(self._record, "cut")
                self._connection.cut()
            case End.STALL:
                pass  # until the client disconnects

    def _finish(self, reason: str) -> None:
        data = self._writer.finish(reason)
        if self._request.include_usage:
            data += self._writer.usage(prompt_tokens(self._request), self._record.tokens)
        self._close(data + chunks.DONE)

    def _close(self, data: bytes) -> None:
        self._stats.ended(self._record, "done")
        self._connection.write(data + chunks.LAST)
        self._connection.finished()


def whole(request: ChatRequest, script: Script) -> bytes:
    """The answer to a request that does not stream; without the script's delays."""
    texts: dict[Kind, str] = {}
    calls: list[dict[str, Any]] = []
    count = 0
    reason = script.finish_reason
    for _, kind, text in script.steps:
        if request.token_limit is not None and count >= request.token_limit:
            reason = "length"
            break
        count += 1
        if kind is not Kind.CALLS:
            texts[kind] = texts.get(kind, "") + text
            continue
        for entry in json.loads(text):
            if "id" in entry:
                calls.append(entry)
            else:
                calls[entry["index"]]["function"]["arguments"] += entry["function"]["arguments"]
    return chunks.ChunkWriter(request).whole(texts, calls, reason, prompt_tokens(request), count)


def prompt_tokens(request: ChatRequest) -> int:
    """Four characters are about a token."""
    return sum(len(message.text) // 4 + 1 for message in request.messages)
