"""Segments: the running answer, stored about once a second to survive this process (``docs/decisions/0018``)."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
import nats.js.errors
from nats.js import JetStreamContext

from llm_worker.generation import context
from llm_worker.generation.answer import Answer
from parley.contracts import subjects
from parley.contracts.completion import Span, ToolCall
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.events import GenerationSegment
from parley.contracts.streams import SEGMENTS
from parley.runtime import tasks
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable
from parley.runtime.nats.publish import publish_durable

log = logging.getLogger(__name__)

_MIN_INTERVAL: Final = 1.0
_MAX_INTERVAL: Final = 5.0
_MAX_RATE: Final = 50
"""Segments a second of this process, as long as the longest interval allows it."""

_DEADLINE: Final = 10.0


class StoredAttempt(NamedTuple):
    """What is stored of an attempt."""

    attempt: int
    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...] = ()
    layout: tuple[Span, ...] = ()

    @property
    def tokens(self) -> int:
        """The estimated number of tokens that the model wrote."""
        return context.tokens_written(self.text, self.reasoning, self.tool_calls)


class SegmentInterval:
    """The interval between the segments of one answer: a second, and longer when many answers are running.

    Attributes:
        writers: The number of running answers.
    """

    def __init__(self) -> None:
        self.writers = 0

    @property
    def seconds(self) -> float:
        return min(_MAX_INTERVAL, max(_MIN_INTERVAL, self.writers / _MAX_RATE))


class SegmentWriter:
    """Publishes what is new in one attempt at the interval, within ``async with``. Tokens never wait for it.

    At least once, in order, deduplicated by where a segment starts. The last text of an attempt that ends is not
    written: the end carries the whole.

    Args:
        answer: Whose current attempt it is.
    """

    def __init__(self, js: JetStreamContext, interval: SegmentInterval, answer: Answer) -> None:
        self._js = js
        self._interval = interval
        self._answer = answer
        # What the segments so far contain.
        self._seq = 0
        self._text_length = 0
        self._reasoning_length = 0
        self._calls: list[ToolCall] = []
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> "SegmentWriter":
        self._task = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *_: object) -> None:
        await tasks.end(self._task)
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            log.error("Segments are no longer written", exc_info=error)

    async def _write(self) -> None:
        self._interval.writers += 1
        try:
            while True:
                await asyncio.sleep(self._interval.seconds)
                if self._answer.content.seq > self._seq:
                    await self._publish(self._cut())
        finally:
            self._interval.writers -= 1

    async def _publish(self, segment: GenerationSegment) -> None:
        # The same segment until it is stored: another with the same start would be dropped as a duplicate.
        while True:
            try:
                await publish_durable(self._js, segment, deadline=_DEADLINE)
                return
            except BusUnavailable as error:
                log.debug("Segment: %r", error)

    def _cut(self) -> GenerationSegment:
        answer, content = self._answer, self._answer.content
        text, reasoning, calls = content.text, content.reasoning, content.tool_calls
        segment = GenerationSegment(
            chat_id=answer.chat_id,
            occurred_at=datetime.now(UTC),
            generation_id=answer.generation_id,
            attempt=answer.attempt,
            from_=self._seq + 1,
            to=content.seq,
            text=text[self._text_length :],
            reasoning=reasoning[self._reasoning_length :],
            tool_calls=calls if calls != self._calls else [],
            layout=content.layout,
        )
        self._seq = content.seq
        self._text_length, self._reasoning_length, self._calls = len(text), len(reasoning), calls
        return segment


def assemble(segments: Iterable[GenerationSegment]) -> list[StoredAttempt]:
    """Return each attempt that has segments, up to the first gap, the oldest attempt first. No I/O."""
    stored: list[StoredAttempt] = []
    attempts: dict[int, dict[int, GenerationSegment]] = {}
    for segment in segments:
        attempts.setdefault(segment.attempt, {})[segment.from_] = segment
    for attempt in sorted(attempts):
        by_start = attempts[attempt]
        found: list[GenerationSegment] = []
        seq = 1
        while (segment := by_start.get(seq)) is not None:  # type: ignore[assignment]
            found.append(segment)
            seq = segment.to + 1
        if found:
            stored.append(
                StoredAttempt(
                    attempt,
                    text="".join(s.text for s in found),
                    reasoning="".join(s.reasoning for s in found),
                    tool_calls=tuple(next((s.tool_calls for s in reversed(found) if s.tool_calls), ())),
                    layout=tuple(found[-1].layout),
                )
            )
    return stored


async def read_attempts(js: JetStreamContext, *, chat_id: str, generation_id: str) -> list[StoredAttempt]:
    """Read what is stored of a generation's attempts, the oldest first.

    Raises:
        BusUnavailable: it could not be read.
    """
    try:
        stored = await _read(js, chat_id)
    except TRANSIENT_ERRORS as error:
        raise BusUnavailable(f"segments of {generation_id}: {error!r}") from error
    return assemble(segment for segment in stored if segment.generation_id == generation_id)


async def _read(js: JetStreamContext, chat_id: str) -> list[GenerationSegment]:
    """All segments of a chat, one request each: a worker may read the stream, but not create consumers."""
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
