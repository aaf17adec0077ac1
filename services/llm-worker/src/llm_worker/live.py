"""Telling whoever listens now: core NATS, at most once. Readers heal by a snapshot (``docs/decisions/0001``)."""

from datetime import datetime
from typing import Literal

import msgspec
import nats.errors
from nats.aio.client import Client

from llm_worker import metrics
from llm_worker.answer import Answer
from llm_worker.deltas import Run
from parley.contracts import subjects
from parley.contracts.frames import Delta, Generation

_encode = msgspec.json.Encoder().encode


class LiveChannel:
    """The live traffic of one answer: at most once, in order. Without a connection it is dropped, not saved up."""

    def __init__(self, nc: Client, answer: Answer) -> None:
        self._nc = nc
        self._answer = answer
        self._delta_subject = subjects.live_delta(answer.chat_id)
        self._generation_subject = subjects.live_generation(answer.chat_id)

    async def delta(self, run: Run) -> None:
        """Publish the newest text."""
        answer = self._answer
        frame = Delta(
            chat_id=answer.chat_id,
            generation_id=answer.generation_id,
            attempt=answer.attempt,
            from_=run.from_,
            to=run.to,
            kind=run.kind,
            text=run.text,
        )
        await self._publish(self._delta_subject, _encode(frame))

    async def generation(self, status: Literal["started", "retrying"], *, retry_at: datetime | None = None) -> None:
        """Publish that an attempt started, or when it tries again."""
        answer = self._answer
        frame = Generation(
            chat_id=answer.chat_id,
            generation_id=answer.generation_id,
            message_id=answer.message_id,
            attempt=answer.attempt,
            status=status,
            retry_at=retry_at,
        )
        await self._publish(self._generation_subject, _encode(frame))

    async def _publish(self, subject: str, payload: bytes) -> None:
        if not self._nc.is_connected:
            return
        try:
            await self._nc.publish(subject, payload)
        except nats.errors.Error:
            return
        metrics.DELTAS.inc()
