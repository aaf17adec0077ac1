"""A leading ``<think>…</think>`` in an answer's text, as open models write their reasoning. No I/O."""

from typing import Final, Literal, NamedTuple

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


class Split(NamedTuple):
    """Reasoning, and the text that follows it."""

    reasoning: str
    text: str


class ThinkTag:
    """Tells reasoning from text in one answer, however its chunks cut the tags.

    The white space around the reasoning belongs to the tags and is dropped with them; without tags nothing is.

    Attributes:
        over: All further text is text.
    """

    def __init__(self) -> None:
        self._state: Literal["before", "opened", "within", "closed", "over"] = "before"
        self._held = ""

    @property
    def over(self) -> bool:
        return self._state == "over"

    def feed(self, text: str) -> Split:
        """Take the next text and return what is certain by now."""
        text, self._held = self._held + text, ""
        if self._state == "before":
            start = text.lstrip()
            if _OPEN.startswith(start[: len(_OPEN)]) and len(start) < len(_OPEN):
                self._held = text
                return Split("", "")
            if not start.startswith(_OPEN):
                self._state = "over"
                return Split("", text)
            self._state, text = "opened", start[len(_OPEN) :]
        if self._state == "opened":
            text = text.lstrip()
            if text:
                self._state = "within"
        reasoning = ""
        if self._state == "within":
            reasoning, closed, text = self._within(text)
            if not closed:
                return Split(reasoning, "")
            self._state = "closed"
        if self._state == "closed":
            text = text.lstrip()
            if text:
                self._state = "over"
        return Split(reasoning, text)

    def close(self) -> Split:
        """The answer is over: return what was held back for what might have followed."""
        held, self._held = self._held, ""
        before, self._state = self._state, "over"
        return Split(held, "") if before == "within" else Split("", held)

    def _within(self, text: str) -> tuple[str, bool, str]:
        """Reasoning, whether it ended, and what follows; holds back what may be the beginning of its end."""
        before, tag, after = text.partition(_CLOSE)
        if tag:
            return before.rstrip(), True, after
        part = next((size for size in range(len(_CLOSE) - 1, 0, -1) if text.endswith(_CLOSE[:size])), 0)
        certain = text[: len(text) - part].rstrip()
        self._held = text[len(certain) :]
        return certain, False, ""
