"""What is typed into the search box, and the excerpt of what it finds."""

import pytest

from chat_store.domain.search import MAX_WORDS, SearchQuery, excerpt, parse_query


def test_words_are_between_white_space_and_the_longest_comes_first() -> None:
    assert parse_query("  it's (not) a\u00a0query ") == SearchQuery(
        "it's (not) a\u00a0query", ["(not)", "query", "it's", "a"]
    )
    assert parse_query("Ｗｉｄｅ") == SearchQuery("Ｗｉｄｅ", ["Wide"])


@pytest.mark.parametrize("text", ["", "  ", "\u200b\u00ad\ufeff", "\n\t\u3000"])
def test_nothing_visible_asks_for_nothing(text: str) -> None:
    assert parse_query(text) is None


def test_a_query_of_many_words_is_cut() -> None:
    parsed = parse_query("a " * 1000)
    assert parsed is not None
    assert len(parsed.words) == MAX_WORDS


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("A needle. " + "straw " * 600, "needle"),
        ("straw " * 300 + "a NEEDLE. " + "straw " * 300, "needle"),
        ("straw \n" * 300 + "a Cafe\u0301\n\n now. " + "straw " * 300, "café now"),
        ("… " * 300 + "ﬁne ｆｕｌｌ width " + "… " * 300, "FINE full"),
        ("straw " * 300 + "far apart: b, " + "straw " * 300 + "a", "apart: a"),
    ],
)
def test_an_excerpt_is_one_line_that_shows_what_was_asked_for(text: str, query: str) -> None:
    parsed = parse_query(query)
    assert parsed is not None
    shown = excerpt(text, parsed)
    assert "\n" not in shown
    assert len(shown) <= 200
    assert any(word in shown for word in ("needle", "NEEDLE", "Cafe\u0301 now", "ﬁne ｆｕｌｌ", "apart:"))


def test_an_excerpt_of_what_cannot_be_found_again_is_the_middle() -> None:
    assert "middle" in excerpt("straw " * 20 + "middle " + "straw " * 20, SearchQuery("gone", ["gone"]))
