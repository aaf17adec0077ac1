"""Telling whoever listens now: core NATS, at most once. Readers heal by a snapshot (``docs/decisions/0001``)."""

from datetime import datetime
from typing import Literal

import msgspec

from llm_worker import metrics
from llm_worker.generation.answer import Answer
from llm_worker.generation.attempt_text import Run
from llm_worker.generation.publishing import Wire
from parley.contracts import subjects
from parley.contracts.frames import Delta, Generation

_encode = msgspec.json.Encoder().encode


class LiveChannel:
    """The live traffic of one answer: at most once, in order. Without a connection it is dropped, not saved up."""

    def __init__(self, wire: Wire, answer: Answer) -> None:
        self._wire = wire
        self._answer = answer
        self._delta_subject = subjects.live_delta(answer.chat_id)
        self._generation_subject = subjects.live_generation(answer.chat_id)

    def delta(self, run: Run, headers: dict[str, str]) -> None:
        """Publish the newest text.

        Args:
            headers: Of the first text of an attempt, its span; now and then, when it was read; else none.
        """
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
        self._publish(self._delta_subject, _encode(frame), headers)

    def generation(self, status: Literal["started", "retrying"], *, retry_at: datetime | None = None) -> None:
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
        self._publish(self._generation_subject, _encode(frame))

    def _publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> None:
        self._wire.publish(subject, payload, headers)
        metrics.TOKEN_PATH.deltas += 1
