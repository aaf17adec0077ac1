"""The stored segments of a generation are assembled to text."""

from datetime import UTC, datetime

import msgspec
import pytest

from llm_worker.generation.segments import SegmentInterval, StoredAttempt, assemble
from parley.contracts.completion import Span, ToolCall
from parley.contracts.events import GenerationSegment


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
    assert assemble([segment(1, 3, 4, "cd"), segment(1, 1, 2, "ab", "r")]) == StoredAttempt(1, "abcd", "r")


def test_the_newest_attempt_with_text_counts() -> None:
    assert assemble([segment(1, 1, 9, "old"), segment(2, 1, 1, "new")]) == StoredAttempt(2, "new", "")


def test_text_ends_where_a_segment_is_missing() -> None:
    assert assemble([segment(1, 1, 2, "ab"), segment(1, 4, 5, "de")]) == StoredAttempt(1, "ab", "")


def test_an_attempt_without_its_beginning_is_ignored() -> None:
    assert assemble([segment(1, 1, 2, "ab"), segment(2, 3, 4, "cd")]) == StoredAttempt(1, "ab", "")


def test_a_segment_that_is_there_twice_counts_once() -> None:
    assert assemble([segment(1, 1, 2, "ab"), segment(1, 1, 2, "ab")]) == StoredAttempt(1, "ab", "")


def test_the_newest_calls_and_the_newest_layout_count() -> None:
    begun, called = [ToolCall(id="a", name="clock", arguments=arguments) for arguments in ("", "{}")]
    layout = [Span("tool"), Span("text", 2)]
    stored = [
        msgspec.structs.replace(segment(1, 1, 1), tool_calls=[begun]),
        msgspec.structs.replace(segment(1, 2, 2), tool_calls=[called]),
        msgspec.structs.replace(segment(1, 3, 4, "ab"), layout=layout),
    ]
    assert assemble(stored) == StoredAttempt(1, "ab", "", (called,), tuple(layout))
    assert assemble(stored[:1]) == StoredAttempt(1, "", "", (begun,))


def test_no_segments_are_no_text() -> None:
    assert assemble([]) is None


@pytest.mark.parametrize(("writers", "seconds"), [(0, 1), (1, 1), (50, 1), (100, 2), (250, 5), (2000, 5)])
def test_the_interval_grows_with_the_number_of_writers(writers: int, seconds: float) -> None:
    interval = SegmentInterval()
    interval.writers = writers
    assert interval.seconds == seconds
