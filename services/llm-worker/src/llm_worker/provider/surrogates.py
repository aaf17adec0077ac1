"""Joins surrogate pairs that two chunks cut apart: JSON can spell half a character, UTF-8 cannot. No I/O."""


def join(waiting: str, text: str) -> tuple[str, str]:
    """Join ``waiting`` and ``text``; a surrogate without its pair is replaced.

    Returns:
        The text, and the high surrogate at its end, which waits for the next chunk.
    """
    text = waiting + text
    if text.isascii():
        return text, ""
    waiting = ""
    if "\ud800" <= text[-1:] <= "\udbff":
        text, waiting = text[:-1], text[-1]
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), waiting
