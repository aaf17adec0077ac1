"""The stored segments of a generation are assembled to text."""

from datetime import UTC, datetime
from typing import cast

import msgspec
import pytest
from nats.js import JetStreamContext

from llm_worker.generation import segments
from llm_worker.generation.answer import Answer
from llm_worker.generation.segments import SegmentInterval, SegmentWriter, StoredAttempt, assemble
from llm_worker.provider.completion import Piece
from parley.contracts.completion import Span, ToolCall, ToolDelta
from parley.contracts.events import GenerationSegment
from tests.support.waiting import eventually


def segment(attempt: int, from_: int, to: int, text: str = "", reasoning: str = "") -> GenerationSegment:
    return GenerationSegment(
        chat_id="c",
        occurred_at=datetime.now(UTC),
        generation_id="g",
        attempt=attempt,
        from_=from_,
        to=to,
        text=text,
        reasoning=reasoning,
    )


def test_segments_are_joined_in_the_order_of_their_chunks() -> None:
    assert assemble([segment(1, 3, 4, "cd"), segment(1, 1, 2, "ab", "r")])[-1] == StoredAttempt(1, "abcd", "r")


def test_the_newest_attempt_with_text_counts() -> None:
    assert assemble([segment(1, 1, 9, "old"), segment(2, 1, 1, "new")])[-1] == StoredAttempt(2, "new", "")


def test_text_ends_where_a_segment_is_missing() -> None:
    assert assemble([segment(1, 1, 2, "ab"), segment(1, 4, 5, "de")])[-1] == StoredAttempt(1, "ab", "")


def test_an_attempt_without_its_beginning_is_ignored() -> None:
    assert assemble([segment(1, 1, 2, "ab"), segment(2, 3, 4, "cd")])[-1] == StoredAttempt(1, "ab", "")


def test_a_segment_that_is_there_twice_counts_once() -> None:
    assert assemble([segment(1, 1, 2, "ab"), segment(1, 1, 2, "ab")])[-1] == StoredAttempt(1, "ab", "")


def test_the_newest_calls_and_the_newest_layout_count() -> None:
    begun, called = [ToolCall(id="a", name="clock", arguments=arguments) for arguments in ("", "{}")]
    layout = [Span("tool"), Span("text", 2)]
    stored = [
        msgspec.structs.replace(segment(1, 1, 1), tool_calls=[begun]),
        msgspec.structs.replace(segment(1, 2, 2), tool_calls=[called]),
        msgspec.structs.replace(segment(1, 3, 4, "ab"), layout=layout),
    ]
    assert assemble(stored)[-1] == StoredAttempt(1, "ab", "", (called,), tuple(layout))
    assert assemble(stored[:1])[-1] == StoredAttempt(1, "", "", (begun,))


def test_no_segments_are_no_text() -> None:
    assert assemble([]) == []


@pytest.mark.parametrize(("writers", "seconds"), [(0, 1), (1, 1), (50, 1), (100, 2), (250, 5), (2000, 5)])
def test_the_interval_grows_with_the_number_of_writers(writers: int, seconds: float) -> None:
    interval = SegmentInterval()
    interval.writers = writers
    assert interval.seconds == seconds


async def test_each_segment_is_what_came_since_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[GenerationSegment] = []

    async def publish(js: object, segment: GenerationSegment, **_: object) -> None:
        stored.append(segment)

    monkeypatch.setattr(segments, "publish_durable", publish)
    monkeypatch.setattr(segments, "_MIN_INTERVAL", 0.001)
    answer = Answer(chat_id="c", generation_id="g", message_id="m")
    call = ToolCall(id="a", name="clock", arguments="{}")
    async with SegmentWriter(cast(JetStreamContext, None), SegmentInterval(), answer):
        answer.content.add([Piece("reasoning", "Hm."), Piece("text", "It "), Piece("text", "is ")])
        await eventually(lambda: len(stored) == 1)
        answer.content.add([Piece("tool", "", ToolDelta(index=0, call=call)), Piece("text", "noon")])
        await eventually(lambda: len(stored) == 2)
        answer.content.add([Piece("text", ".")])
        await eventually(lambda: len(stored) == 3)
    assert [(each.from_, each.to) for each in stored] == [(1, 3), (4, 5), (6, 6)]
    assert [each.text for each in stored] == ["It is ", "noon", "."]
    assert [each.reasoning for each in stored] == ["Hm.", "", ""]
    assert [each.tool_calls for each in stored] == [[], [call], []]
    assert assemble(stored)[-1] == StoredAttempt(0, "It is noon.", "Hm.", (call,), tuple(answer.content.layout))
