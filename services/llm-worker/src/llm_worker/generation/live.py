"""Live publishing over core NATS: at most once; readers repair a gap by a snapshot (``docs/decisions/0001``)."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from nats.aio.client import Client

from llm_worker import metrics
from llm_worker.generation.answer import Answer
from llm_worker.generation.content import Run
from parley.contracts import subjects
from parley.contracts.frames import Delta, Generation

_HIGH_WATER: Final = 8 * 1024 * 1024
"""Bytes that may wait for a server that does not read; above it frames are dropped, and readers ask for a snapshot."""

_encode = msgspec.json.Encoder().encode


class CorePublisher:
    """Core publishes for the token path: at most once, in order; without a connection they are dropped.

    ``nats.aio.client.Client.publish`` costs 25 µs for a single message, of which the kernel's part is 5: a future, a
    queue and a second task are between it and the socket. Here all that one turn of the event loop publishes goes to
    the connection's transport in one write. The only place that uses private attributes of nats-py
    (``docs/decisions/0015``; a test names them).
    """

    def __init__(self, nc: Client) -> None:
        self._nc: Any = nc
        self._loop = asyncio.get_running_loop()
        self._commands: list[bytes] = []

    def publish(self, subject: bytes, payload: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Publish at the end of this turn of the event loop. Subject and headers are not validated."""
        if headers:
            head = _encode_headers(headers)
            sizes = (subject, len(head), len(head) + len(payload))
            command = b"HPUB %b %d %d\r\n%b%b\r\n" % (*sizes, head, payload)
        else:
            command = b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload)
        if not self._commands:
            self._loop.call_soon(self._flush)
        self._commands.append(command)

    def _flush(self) -> None:
        commands = b"".join(self._commands)
        self._commands.clear()
        nc = self._nc
        if not nc.is_connected:
            return
        if nc._pending:
            # Earlier publishes of nats-py wait for its flusher: keep the order.
            nc._pending.append(commands)
            nc._pending_data_size += len(commands)
            return
        transport = nc._transport._io_writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() <= _HIGH_WATER:
            transport.write(commands)


def _encode_headers(headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


class LivePublisher:
    """Publishes the live frames of one answer."""

    def __init__(self, publisher: CorePublisher, answer: Answer) -> None:
        self._publisher = publisher
        self._answer = answer
        self._delta_subject = subjects.live_delta(answer.chat_id).encode()
        self._generation_subject = subjects.live_generation(answer.chat_id).encode()

    def deltas(self, runs: list[Run], headers: dict[str, str] | None = None) -> None:
        """Publish new text and news of tool calls.

        Args:
            headers: The span, with the first text of an attempt; the time of the read, about once a second; else none.
        """
        answer = self._answer
        for run in runs:
            frame = Delta(
                chat_id=answer.chat_id,
                generation_id=answer.generation_id,
                attempt=answer.attempt,
                from_=run.from_,
                to=run.to,
                kind=run.kind,
                text=run.text,
                tool=run.tool,
            )
            self._publisher.publish(self._delta_subject, _encode(frame), headers)
        metrics.TOKEN_PATH.deltas += len(runs)

    def generation(self, status: Literal["started", "retrying"], *, retry_at: datetime | None = None) -> None:
        """Publish that an attempt started, or when the next one will."""
        answer = self._answer
        frame = Generation(
            chat_id=answer.chat_id,
            generation_id=answer.generation_id,
            message_id=answer.message_id,
            attempt=answer.attempt,
            status=status,
            retry_at=retry_at,
        )
        self._publisher.publish(self._generation_subject, _encode(frame))
        metrics.TOKEN_PATH.deltas += 1
