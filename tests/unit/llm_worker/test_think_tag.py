"""Reasoning within the text is split off, wherever its tags are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_worker.provider.think_tag import ThinkTag


def split(*texts: str) -> tuple[str, str]:
    """Reasoning and text of an answer that came in these chunks."""
    tag = ThinkTag()
    parts = [*map(tag.feed, texts), tag.close()]
    return "".join(part.reasoning for part in parts), "".join(part.text for part in parts)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("<think>Let me see.</think>It is late.", ("Let me see.", "It is late.")),
        ("\n<think>\nLet me see.\n</think>\n\nIt is late.", ("Let me see.", "It is late.")),
        ("<think></think>It is late.", ("", "It is late.")),
        ("<think>\n\n</think>\n\n", ("", "")),
        ("<think>Let me", ("Let me", "")),
        ("<think>1 < 2 </thin", ("1 < 2 </thin", "")),
        ("<think>a</think>b<think>c</think>", ("a", "b<think>c</think>")),
        ("<thinking>is a word</thinking>", ("", "<thinking>is a word</thinking>")),
        ("I wrote <think>.", ("", "I wrote <think>.")),
        ("  two blanks", ("", "  two blanks")),
        ("<thi", ("", "<thi")),
        (" ", ("", " ")),
        ("", ("", "")),
    ],
)
def test_a_leading_tag_is_reasoning_wherever_it_is_cut(answer: str, wanted: tuple[str, str]) -> None:
    assert split(answer) == wanted
    assert split(*answer) == wanted
    for first, second in itertools.combinations(range(len(answer) + 1), 2):
        assert split(answer[:first], answer[first:second], answer[second:]) == wanted


@given(st.lists(st.text(max_size=5), max_size=6))
def test_without_a_tag_nothing_is_changed(texts: list[str]) -> None:
    if not "".join(texts).lstrip().startswith("<think>"):
        assert split(*texts) == ("", "".join(texts))


def test_text_comes_out_at_once_when_it_is_no_tag() -> None:
    tag = ThinkTag()
    assert tag.feed("Hel").text == "Hel"
    assert tag.over
