"""The text of an attempt: numbered without a gap, and limited."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from llm_worker.generation.answer import AttemptText, Run, cut_to_json_size, json_size
from llm_worker.provider.completion import Piece

PIECE = st.builds(Piece, st.sampled_from(["text", "reasoning"]), st.text(max_size=6))


def test_one_read_of_one_kind_is_one_run() -> None:
    content = AttemptText()
    assert content.add([Piece("text", "a"), Piece("text", "b")]) == [Run("text", 1, 2, "ab")]
    assert content.add([Piece("text", "c")]) == [Run("text", 3, 3, "c")]
    assert (content.text, content.reasoning, content.seq) == ("abc", "", 3)


def test_a_read_of_both_kinds_is_a_run_for_each_stretch() -> None:
    content = AttemptText()
    assert content.add([Piece("reasoning", "r"), Piece("text", "a"), Piece("text", "b"), Piece("reasoning", "s")]) == [
        Run("reasoning", 1, 1, "r"),
        Run("text", 2, 3, "ab"),
        Run("reasoning", 4, 4, "s"),
    ]
    assert (content.text, content.reasoning) == ("ab", "rs")


@given(st.lists(st.lists(PIECE, max_size=5), max_size=8))
def test_runs_follow_one_another_and_make_up_the_whole(reads: list[list[Piece]]) -> None:
    content = AttemptText()
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
    content = AttemptText(max_bytes=limit)
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


def test_size_is_that_of_json() -> None:
    assert json_size('a"\n🦜\x01') == len(msgspec.json.encode('a"\n🦜\x01')) - 2
