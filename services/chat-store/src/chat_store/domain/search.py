"""What a person types into the search box, and the excerpt that shows where a message holds it."""

import re
import unicodedata
from bisect import bisect_left
from typing import Final

import msgspec

MAX_WORDS = 20

AROUND: Final = 2000
"""Characters of a message on each side of about where the match is, to cut the excerpt from."""
_BEFORE: Final = 60
_LENGTH: Final = 200

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufe0e\ufe0f\ufeff]")
"""As in the function ``search_fold`` of the schema."""


class SearchQuery(msgspec.Struct, frozen=True):
    """What to search for.

    Attributes:
        phrase: All of it, as typed.
        words: What it consists of between white space, the longest first.
    """

    phrase: str
    words: list[str]


def parse_query(text: str) -> SearchQuery | None:
    """Return what ``text`` asks for; None when nothing of it can be seen."""
    words = _composed(text).split()[:MAX_WORDS]
    return SearchQuery(text.strip(), sorted(words, key=len, reverse=True)) if words else None


def excerpt(around: str, query: SearchQuery) -> str:
    """Cut a line out of ``around`` (up to ``2 * AROUND`` characters of a message) that shows what was asked for."""
    places = [place for sought in (query.phrase, query.words[0]) if (place := _find(around, sought)) is not None]
    start = max(0, (places[0] if places else len(around) // 2) - _BEFORE)
    return " ".join(around[start : start + _LENGTH].split())


def _find(text: str, phrase: str) -> int | None:
    """Return where ``text`` holds ``phrase`` in any form of writing it; None: nowhere.

    Folding changes lengths, so the place is found by what has to be cut away for the phrase to be gone.
    """
    wanted = _folded(phrase)
    if wanted not in _folded(text):
        return None
    end = bisect_left(range(len(text)), True, key=lambda cut: wanted in _folded(text[:cut]))
    return bisect_left(range(end + 1), True, key=lambda cut: wanted not in _folded(text[cut:end])) - 1


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", _composed(text)).upper()


def _composed(text: str) -> str:
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
