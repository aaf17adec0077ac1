"""The content of an attempt: numbered without a gap, and limited."""

import itertools

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from llm_worker.generation.content import AttemptContent, Run, cut_to_json_size, json_size, pieces_of
from llm_worker.provider.completion import Piece
from parley.contracts.completion import Span, ToolCall, ToolDelta

PIECE = st.builds(Piece, st.sampled_from(["text", "reasoning"]), st.text(max_size=6))


def begun(index: int, arguments: str = "") -> Piece:
    return Piece("tool", "", ToolDelta(index=index, call=ToolCall(id=f"{index}", name="f", arguments=arguments)))


def more(index: int, arguments: str) -> Piece:
    return Piece("tool", "", ToolDelta(index=index, arguments=arguments))


@st.composite
def mixed(draw: st.DrawFn) -> list[list[Piece]]:
    """The pieces of some reads, with calls of tools."""
    calls = 0
    reads: list[list[Piece]] = []
    for kinds in draw(st.lists(st.lists(st.sampled_from(["piece", "call", "more"]), max_size=4), max_size=6)):
        read: list[Piece] = []
        for kind in kinds:
            if kind == "call":
                read.append(begun(calls, draw(st.text(max_size=2))))
                calls += 1
            elif kind == "more" and calls:
                read.append(more(draw(st.integers(0, calls - 1)), draw(st.text(max_size=3))))
            else:
                read.append(draw(PIECE))
        reads.append(read)
    return reads


def test_one_read_of_one_kind_is_one_run() -> None:
    content = AttemptContent()
    assert content.add([Piece("text", "a"), Piece("text", "b")]) == [Run("text", 1, 2, "ab")]
    assert content.add([Piece("text", "c")]) == [Run("text", 3, 3, "c")]
    assert (content.text, content.reasoning, content.seq) == ("abc", "", 3)


def test_a_read_of_both_kinds_is_a_run_for_each_stretch() -> None:
    content = AttemptContent()
    assert content.add([Piece("reasoning", "r"), Piece("text", "a"), Piece("text", "b"), Piece("reasoning", "s")]) == [
        Run("reasoning", 1, 1, "r"),
        Run("text", 2, 3, "ab"),
        Run("reasoning", 4, 4, "s"),
    ]
    assert (content.text, content.reasoning) == ("ab", "rs")


@given(st.lists(st.lists(PIECE, max_size=5), max_size=8))
def test_runs_follow_one_another_and_make_up_the_whole(reads: list[list[Piece]]) -> None:
    content = AttemptContent()
    runs = [run for read in reads for run in content.add(read)]
    seq = 0
    for run in runs:
        assert run.from_ == seq + 1
        assert run.to >= run.from_
        seq = run.to
    assert seq == content.seq == sum(1 for read in reads for piece in read if piece.text)
    for kind, whole in (("text", content.text), ("reasoning", content.reasoning)):
        assert "".join(run.text for run in runs if run.kind == kind) == whole
        assert "".join(piece.text for read in reads for piece in read if piece.kind == kind) == whole


@given(st.lists(PIECE, max_size=12), st.integers(0, 60))
def test_the_limit_is_respected_and_the_text_is_a_prefix(pieces: list[Piece], limit: int) -> None:
    content = AttemptContent(max_bytes=limit)
    content.add(pieces)
    assert json_size(content.text) + json_size(content.reasoning) <= limit
    said = "".join(piece.text for piece in pieces if piece.kind == "text")
    assert said.startswith(content.text)
    if not content.full:
        assert said == content.text


@given(st.text(), st.integers(0, 100))
def test_the_longest_beginning_that_fits_is_found(text: str, limit: int) -> None:
    cut = cut_to_json_size(text, limit)
    assert text.startswith(cut)
    assert json_size(cut) <= limit
    if cut != text:
        assert json_size(text[: len(cut) + 1]) > limit


# --- tool calls ------------------------------------------------------------------------------------------------------


def test_news_of_a_call_is_a_run_of_one_chunk() -> None:
    content = AttemptContent()
    call = ToolCall(id="0", name="f", arguments='{"a"')
    assert content.add([Piece("text", "a"), begun(0, "{"), more(0, '"a"'), Piece("text", "b")]) == [
        Run("text", 1, 1, "a"),
        Run("text", 2, 2, "", ToolDelta(index=0, call=call)),
        Run("text", 3, 3, "b"),
    ]
    assert content.add([more(0, ":"), more(0, "7}")]) == [Run("text", 4, 4, "", ToolDelta(index=0, arguments=":7}"))]
    assert content.tool_calls == [ToolCall(id="0", name="f", arguments='{"a":7}')]
    assert content.layout == [Span("text", 1), Span("tool"), Span("text", 1)]


def test_the_usual_order_needs_no_layout() -> None:
    content = AttemptContent()
    content.add([Piece("reasoning", "r"), Piece("text", "a"), Piece("text", "b"), begun(0), begun(1)])
    assert content.layout == []
    content.add([Piece("reasoning", "s")])
    assert content.layout == [
        Span("reasoning", 1),
        Span("text", 2),
        Span("tool"),
        Span("tool"),
        Span("reasoning", 1),
    ]


@given(mixed())
def test_a_reader_of_the_runs_has_the_content(reads: list[list[Piece]]) -> None:
    content = AttemptContent()
    runs = [run for read in reads for run in content.add(read)]
    calls: dict[int, ToolCall] = {}
    for before, run in itertools.pairwise([Run("text", 0, 0, ""), *runs]):
        assert run.from_ == before.to + 1
        if run.tool is not None and run.tool.call is not None:
            calls[run.tool.index] = run.tool.call
        elif run.tool is not None:
            call = calls[run.tool.index]
            calls[run.tool.index] = msgspec.structs.replace(call, arguments=call.arguments + run.tool.arguments)
    assert list(calls.values()) == content.tool_calls
    assert "".join(run.text for run in runs if run.kind == "text") == content.text


@given(mixed())
def test_content_is_made_again_of_its_parts(reads: list[list[Piece]]) -> None:
    content, again = AttemptContent(), AttemptContent()
    for read in reads:
        content.add(read)
    again.add(pieces_of(content.text, content.reasoning, content.tool_calls, content.layout))
    assert again.tool_calls == content.tool_calls
    assert (again.text, again.reasoning, again.layout) == (content.text, content.reasoning, content.layout)


@given(mixed(), st.integers(0, 1000))
def test_calls_and_the_layout_are_within_the_limit(reads: list[list[Piece]], limit: int) -> None:
    content = AttemptContent(max_bytes=limit)
    for read in reads:
        if not content.full:
            content.add(read)
    calls, layout = msgspec.json.encode(content.tool_calls), msgspec.json.encode(content.layout)
    texts = json_size(content.text) + json_size(content.reasoning)
    # The brackets, and the first spans.
    assert texts + len(calls) + len(layout) <= limit + 150


def test_size_is_that_of_json() -> None:
    assert json_size('a"\n🦜\x01') == len(msgspec.json.encode('a"\n🦜\x01')) - 2
