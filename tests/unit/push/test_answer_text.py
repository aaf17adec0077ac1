import tracemalloc
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from parley.contracts.completion import Span, ToolCall, ToolDelta
from parley.contracts.frames import Kind
from parley.contracts.rpc import GenerationSnapshot
from push.rooms.answer_text import AnswerText, Run

Piece = tuple[int, Kind, str]
pieces = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["text", "reasoning"]), st.text(max_size=5)), max_size=30
)


def snapshot(
    seq: int,
    text: str = "",
    reasoning: str = "",
    calls: Sequence[ToolCall] = (),
    layout: Sequence[Span] = (),
) -> GenerationSnapshot:
    return GenerationSnapshot(
        generation_id="g",
        message_id="m",
        attempt=1,
        status="running",
        seq=seq,
        text=text,
        reasoning=reasoning,
        tool_calls=list(calls),
        layout=list(layout),
    )


def transcript() -> AnswerText:
    return AnswerText("g", "m", 1, "running")


@given(pieces)
def test_every_cut_behind_a_delta_gives_the_rest_of_the_text_in_order(pieces: list[Piece]) -> None:
    answer = transcript()
    cuts = [0]
    for chunks, kind, text in pieces:
        answer.append(answer.seq + chunks, kind, text)
        cuts.append(answer.seq)
    for index, cut in enumerate(cuts):
        runs = answer.since(cut)
        assert runs is not None
        rest = pieces[index:]
        for kind in ("text", "reasoning"):
            assert "".join(run.text for run in runs if run.kind == kind) == "".join(t for _, k, t in rest if k == kind)
        assert all(one.kind != other.kind for one, other in pairwise(runs)), "a run is whole"
        ends = [cut, *(run.to for run in runs)]
        assert [run.from_ for run in runs] == [end + 1 for end in ends[:-1]]
        assert ends[-1] == answer.seq


@given(pieces)
def test_no_cut_is_possible_within_a_delta(pieces: list[Piece]) -> None:
    answer = transcript()
    cuts = {0}
    for chunks, kind, text in pieces:
        answer.append(answer.seq + chunks, kind, text)
        cuts.add(answer.seq)
    for seq in range(answer.seq + 3):
        assert (answer.since(seq) is not None) == (seq in cuts)


def test_what_a_worker_adds_to_one_kind_is_one_more_piece() -> None:
    answer = transcript()
    answer.append(2, "text", "Hel")
    assert answer.catch_up(snapshot(5, "Hello"))
    assert answer.since(2) == [Run("text", 3, 5, "lo")]
    assert answer.since(4) is None


def test_what_a_worker_adds_to_both_kinds_cannot_be_cut() -> None:
    answer = transcript()
    answer.append(2, "reasoning", "Hm")
    assert not answer.catch_up(snapshot(5, "Hello", "Hm."))
    assert answer.since(2) is None
    assert answer.since(5) == []
    assert answer.whole() == ("Hello", "Hm.")


CALL = ToolCall(id="call-1", name="clock")


def test_the_arguments_of_a_call_are_one_run_and_can_be_cut_like_text() -> None:
    answer = transcript()
    answer.append(1, "text", "Well")
    answer.append_tool(2, ToolDelta(index=0, call=CALL, arguments="{"))
    answer.append_tool(3, ToolDelta(index=0, arguments='"zone":'))
    answer.append_tool(4, ToolDelta(index=0, arguments="1}"))
    assert answer.since(1) == [Run("text", 2, 4, "", ToolDelta(index=0, call=CALL, arguments='{"zone":1}'))]
    assert answer.since(2) == [Run("text", 3, 4, "", ToolDelta(index=0, arguments='"zone":1}'))]


def test_each_change_of_a_call_is_a_run_of_its_own() -> None:
    answer = transcript()
    done = replace(CALL, status="complete", result="12:00")
    answer.append_tool(1, ToolDelta(index=0, call=CALL))
    answer.append_tool(2, ToolDelta(index=0, call=done))
    answer.append_tool(3, ToolDelta(index=0, call=done))
    answer.append(4, "text", "Noon")
    runs = answer.since(0)
    assert runs is not None
    assert [run.tool.call if run.tool else run.text for run in runs] == [CALL, done, done, "Noon"]
    assert answer.order(1) == ([CALL], [])
    assert answer.order(4) == ([done], [Span("tool"), Span("text", 4)])


def test_the_order_is_empty_while_it_is_reasoning_text_and_calls() -> None:
    answer = transcript()
    answer.append(1, "reasoning", "Hm")
    answer.append(2, "text", "Wéll")
    answer.append_tool(3, ToolDelta(index=0, call=CALL))
    assert answer.order(3) == ([CALL], [])
    answer.append(4, "reasoning", "…")
    assert answer.order(4)[1] == [Span("reasoning", 2), Span("text", 4), Span("tool"), Span("reasoning", 1)]
    assert answer.order(3)[1] == []


@pytest.mark.parametrize(
    ("calls", "tool"),
    [
        ([CALL, replace(CALL, id="call-2")], ToolDelta(index=1, call=replace(CALL, id="call-2"))),
        ([replace(CALL, arguments="{}")], ToolDelta(index=0, arguments="{}")),
        ([replace(CALL, status="running")], ToolDelta(index=0, call=replace(CALL, status="running"))),
    ],
    ids=["a new call", "arguments", "a status"],
)
def test_one_thing_that_a_worker_adds_to_the_calls_is_one_more_piece(calls: list[ToolCall], tool: ToolDelta) -> None:
    answer = transcript()
    answer.append_tool(2, ToolDelta(index=0, call=CALL))
    assert answer.catch_up(snapshot(5, calls=calls))
    assert answer.since(2) == [Run("text", 3, 5, "", tool)]
    assert answer.order(5)[0] == calls


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("Noon", [replace(CALL, status="running")]),
        ("", [replace(CALL, status="running"), replace(CALL, id="call-2")]),
        ("", [replace(CALL, status="running", arguments="{}")]),
        ("", []),
    ],
    ids=["text and a status", "two calls", "arguments and a status", "a call less"],
)
def test_several_things_that_a_worker_adds_cannot_be_cut(text: str, calls: list[ToolCall]) -> None:
    answer = transcript()
    answer.append_tool(2, ToolDelta(index=0, call=CALL))
    layout = [Span("tool"), Span("text", 4)] if text else []
    assert not answer.catch_up(snapshot(5, text, calls=calls, layout=layout))
    assert answer.since(2) is None
    assert answer.order(5) == (calls, layout)


def test_a_worker_that_contradicts_is_believed_as_a_whole() -> None:
    answer = transcript()
    answer.append(2, "text", "Hel")
    assert not answer.catch_up(snapshot(3, "Goodbye"))
    assert answer.whole() == ("Goodbye", "")


def test_a_worker_that_knows_less_changes_nothing() -> None:
    answer = transcript()
    answer.append(2, "text", "Hel")
    answer.has_gap = True
    assert answer.catch_up(snapshot(1, "H"))
    assert answer.whole() == ("Hel", "")
    assert not answer.has_gap


def test_a_new_attempt_begins_with_nothing() -> None:
    answer = transcript()
    answer.append(2, "text", "Hel")
    answer.begin(2)
    assert (answer.attempt, answer.seq, answer.whole()) == (2, 0, ("", ""))


def test_20_000_tokens_take_less_than_a_megabyte() -> None:
    tracemalloc.start()
    answer = transcript()
    for seq in range(1, 20_001):
        answer.append(seq, "text", " token")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 1_000_000
