import tracemalloc
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from parley.contracts.frames import Kind
from parley.contracts.rpc import GenerationSnapshot
from push.rooms.answer_text import AnswerText, Run

Piece = tuple[int, Kind, str]
pieces = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["text", "reasoning"]), st.text(max_size=5)), max_size=30
)


def snapshot(seq: int, text: str = "", reasoning: str = "") -> GenerationSnapshot:
    return GenerationSnapshot(
        generation_id="g", message_id="m", attempt=1, status="running", seq=seq, text=text, reasoning=reasoning
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
