"""A leading ``<think>…</think>`` in an answer's text, as open models write their reasoning. No I/O."""

from typing import Final, Literal, NamedTuple

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


class Split(NamedTuple):
    """Reasoning, and the text that follows it."""

    reasoning: str
    text: str


class ThinkTag:
    """Splits one answer into reasoning and text, wherever its chunks cut the tags.

    The white space around the reasoning belongs to the tags and is dropped with them; without tags nothing is dropped.

    Attributes:
        over: All that follows is text.
    """

    def __init__(self) -> None:
        self._state: Literal["before", "opened", "within", "closed", "over"] = "before"
        self._buffer = ""

    @property
    def over(self) -> bool:
        return self._state == "over"

    def feed(self, text: str) -> Split:
        """Add the next text and return the part that cannot belong to a tag."""
        text, self._buffer = self._buffer + text, ""
        if self._state == "before":
            start = text.lstrip()
            if _OPEN.startswith(start[: len(_OPEN)]) and len(start) < len(_OPEN):
                self._buffer = text
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
        """End the answer and return the buffered text."""
        buffer, self._buffer = self._buffer, ""
        before, self._state = self._state, "over"
        return Split(buffer, "") if before == "within" else Split("", buffer)

    def _within(self, text: str) -> tuple[str, bool, str]:
        """Reasoning, whether it ended, and what follows; buffers what may be the beginning of the closing tag."""
        before, tag, after = text.partition(_CLOSE)
        if tag:
            return before.rstrip(), True, after
        part = next((size for size in range(len(_CLOSE) - 1, 0, -1) if text.endswith(_CLOSE[:size])), 0)
        certain = text[: len(text) - part].rstrip()
        self._buffer = text[len(certain) :]
        return certain, False, ""
