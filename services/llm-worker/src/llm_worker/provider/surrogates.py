"""Joins surrogate pairs that two chunks cut apart: JSON can spell half a character, UTF-8 cannot. No I/O."""

from typing import NamedTuple


class Joined(NamedTuple):
    """Text without lone surrogates, and the high surrogate at its end, which waits for the next chunk."""

    text: str
    waiting: str


def join(waiting: str, text: str) -> Joined:
    """Return ``waiting`` and ``text`` as one; a surrogate without its pair is replaced."""
    text = waiting + text
    if text.isascii():
        return Joined(text, "")
    waiting = ""
    if "\ud800" <= text[-1:] <= "\udbff":
        text, waiting = text[:-1], text[-1]
    return Joined(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), waiting)
