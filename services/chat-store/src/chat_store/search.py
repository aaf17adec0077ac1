"""What a person types into the search box, in the words of Postgres."""

import re

_WORD = re.compile(r"\w+")

MAX_WORDS = 20


def to_tsquery(text: str) -> str | None:
    """Return a query for messages with words that begin with each word of ``text``; None when it has no word."""
    words = _WORD.findall(text)[:MAX_WORDS]
    return " & ".join(f"'{word}':*" for word in words) or None


def one_line(excerpt: str) -> str:
    return " ".join(excerpt.split())
