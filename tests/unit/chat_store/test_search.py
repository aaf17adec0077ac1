"""From a search box to Postgres."""

import pytest

from chat_store.search import one_line, to_tsquery


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("hello", "'hello':*"),
        ("  two words ", "'two':* & 'words':*"),
        ("it's (not) | a & query:*", "'it':* & 's':* & 'not':* & 'a':* & 'query':*"),
        ("größe 日本", "'größe':* & '日本':*"),
        ("?!", None),
        ("", None),
    ],
)
def test_each_word_is_found_by_its_beginning(text: str, query: str | None) -> None:
    assert to_tsquery(text) == query


def test_a_query_of_many_words_is_cut() -> None:
    assert (to_tsquery("a " * 1000) or "").count("&") == 19


def test_an_excerpt_is_one_line() -> None:
    assert one_line(" a\n\n b\tc ") == "a b c"
