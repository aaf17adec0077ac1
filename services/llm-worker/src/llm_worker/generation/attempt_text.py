"""The text of one attempt, and the deltas that it grows by. No I/O.

One read, one delta (``docs/decisions/0003``): what a read from the provider held becomes one run per stretch of a kind.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from llm_worker.provider.completion import Piece
from parley.contracts.frames import Kind
from parley.contracts.limits import MAX_ANSWER_BYTES

_encode = msgspec.json.Encoder().encode


class Run(NamedTuple):
    """Consecutive pieces of one kind. ``from_``–``to`` number the model's chunks in it, from 1, without a gap."""

    kind: Kind
    from_: int
    to: int
    text: str


class Transcript:
    """All that an attempt has said. Appending is O(new text); the whole is joined only when somebody asks.

    Args:
        max_bytes: Of text and reasoning together, as JSON. What does not fit is dropped, and ``full`` is set.

    Attributes:
        seq: The number of the last chunk.
        full: The limit is reached; nothing more is taken.
    """

    def __init__(self, *, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._left = max_bytes
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self.seq = 0
        self.full = False

    @property
    def text(self) -> str:
        return _joined(self._text)

    @property
    def reasoning(self) -> str:
        return _joined(self._reasoning)

    def add(self, pieces: Iterable[Piece]) -> list[Run]:
        """Append the pieces of one read and return the runs that they make."""
        runs: list[Run] = []
        kind: Kind | None = None
        texts: list[str] = []
        from_ = self.seq + 1
        for piece in pieces:
            if piece.kind != kind:
                if kind is not None and texts:
                    runs.append(self._close(kind, from_, texts))
                kind, texts, from_ = piece.kind, [], self.seq + 1
            text = self._fitting(piece.text)
            if text:
                texts.append(text)
                self.seq += 1
            if self.full:
                break
        if kind is not None and texts:
            runs.append(self._close(kind, from_, texts))
        return runs

    def _fitting(self, text: str) -> str:
        size = json_size(text)
        if size > self._left:
            self.full = True
            text = cut_to_json_size(text, self._left)
            size = json_size(text)
        self._left -= size
        return text

    def _close(self, kind: Kind, from_: int, texts: list[str]) -> Run:
        text = texts[0] if len(texts) == 1 else "".join(texts)
        (self._text if kind == "text" else self._reasoning).append(text)
        return Run(kind, from_, self.seq, text)


def json_size(text: str) -> int:
    """Bytes of ``text`` within a JSON string."""
    return len(_encode(text)) - 2


def cut_to_json_size(text: str, limit: int) -> str:
    """The longest beginning of ``text`` that takes at most ``limit`` bytes as JSON."""
    low, high = 0, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if json_size(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def _joined(parts: list[str]) -> str:
    if len(parts) > 1:
        parts[:] = ["".join(parts)]
    return parts[0] if parts else ""
