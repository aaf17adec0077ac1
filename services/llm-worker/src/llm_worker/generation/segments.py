"""Leaving the running text where it survives us, about once a second, and reading it back (``docs/decisions/0018``)."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
import nats.js.errors
from nats.js import JetStreamContext

from llm_worker.generation.attempt_text import Run
from parley.contracts import subjects
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.events import GenerationSegment
from parley.contracts.streams import SEGMENTS
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable
from parley.runtime.nats.publish import publish_durable

log = logging.getLogger(__name__)

_SHORTEST: Final = 1.0
_LONGEST: Final = 5.0
_PER_SECOND: Final = 50
"""Segments of this process from which on each comes less often."""

_DEADLINE: Final = 10.0


class Partial(NamedTuple):
    """What an attempt had said."""

    attempt: int
    text: str
    reasoning: str


class SegmentPace:
    """How often each of a process's answers writes: each second, and less often when they are many.

    Attributes:
        writers: How many answers write.
    """

    def __init__(self) -> None:
        self.writers = 0

    @property
    def interval(self) -> float:
        return min(_LONGEST, max(_SHORTEST, self.writers / _PER_SECOND))


class SegmentWriter:
    """Publishes one attempt's new text each second or few. Tokens never wait for it.

    At least once, in order, deduplicated by where a segment starts; the last of an attempt that ends is not written,
    for whoever ends it has the whole.
    """

    def __init__(
        self, js: JetStreamContext, pace: SegmentPace, *, chat_id: str, generation_id: str, attempt: int
    ) -> None:
        self._js = js
        self._pace = pace
        self._chat_id = chat_id
        self._generation_id = generation_id
        self._attempt = attempt
        self._from = 1
        self._to = 0
        self._text: list[str] = []
        self._reasoning: list[str] = []

    def add(self, run: Run) -> None:
        """Take note of what was said."""
        (self._text if run.kind == "text" else self._reasoning).append(run.text)
        self._to = run.to

    async def write(self) -> None:
        """Publish what is new at the process's pace, until cancelled."""
        self._pace.writers += 1
        try:
            while True:
                await asyncio.sleep(self._pace.interval)
                if self._to >= self._from:
                    await self._publish(self._cut())
        finally:
            self._pace.writers -= 1

    async def _publish(self, segment: GenerationSegment) -> None:
        # The same segment until it is stored: one with the same start and more text would count as a duplicate.
        while True:
            try:
                await publish_durable(self._js, segment, deadline=_DEADLINE)
                return
            except BusUnavailable as error:
                log.debug("Segment: %r", error)

    def _cut(self) -> GenerationSegment:
        segment = GenerationSegment(
            chat_id=self._chat_id,
            occurred_at=datetime.now(UTC),
            generation_id=self._generation_id,
            attempt=self._attempt,
            from_=self._from,
            to=self._to,
            text="".join(self._text),
            reasoning="".join(self._reasoning),
        )
        self._from = self._to + 1
        self._text.clear()
        self._reasoning.clear()
        return segment


def assemble(segments: Iterable[GenerationSegment]) -> Partial | None:
    """The text of the newest attempt that said something, as far as it goes without a gap. No I/O."""
    attempts: dict[int, dict[int, GenerationSegment]] = {}
    for segment in segments:
        attempts.setdefault(segment.attempt, {})[segment.from_] = segment
    for attempt in sorted(attempts, reverse=True):
        by_start = attempts[attempt]
        kept: list[GenerationSegment] = []
        seq = 1
        while (segment := by_start.get(seq)) is not None:  # type: ignore[assignment]
            kept.append(segment)
            seq = segment.to + 1
        if kept:
            return Partial(attempt, "".join(s.text for s in kept), "".join(s.reasoning for s in kept))
    return None


async def read_back(js: JetStreamContext, *, chat_id: str, generation_id: str) -> Partial | None:
    """Read what the attempts of a generation have left; None when it is nothing.

    Raises:
        BusUnavailable: it could not be read.
    """
    try:
        return assemble([s for s in await _read(js, chat_id) if s.generation_id == generation_id])
    except TRANSIENT_ERRORS as error:
        raise BusUnavailable(f"segments of {generation_id}: {error!r}") from error


async def _read(js: JetStreamContext, chat_id: str) -> list[GenerationSegment]:
    """All segments of a chat, one request each: a worker may look at the stream, but not make consumers of it."""
    segments: list[GenerationSegment] = []
    sequence = 1
    while True:
        try:
            message = await js.get_msg(
                SEGMENTS.name, seq=sequence, subject=subjects.generation_segment(chat_id), next=True
            )
        except nats.js.errors.NotFoundError:
            return segments
        assert message.seq is not None  # a stored message has one
        sequence = message.seq + 1
        with contextlib.suppress(*UNDECODABLE):
            segments.append(msgspec.json.decode(message.data or b"", type=GenerationSegment))
