"""The answer of one generation, and the text of its current attempt. No I/O.

One read, one delta (``docs/decisions/0003``): each read from the provider becomes one run for each change of kind.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from llm_worker.generation import context
from llm_worker.provider.completion import Piece
from parley.contracts.frames import Kind
from parley.contracts.limits import MAX_ANSWER_BYTES
from parley.contracts.resources import Usage
from parley.contracts.rpc import Claimed, GenerationSnapshot

_encode = msgspec.json.Encoder().encode


class Run(NamedTuple):
    """Consecutive pieces of one kind. ``from_``–``to`` number the model's chunks in it, from 1, without a gap."""

    kind: Kind
    from_: int
    to: int
    text: str


class AttemptText:
    """The text and reasoning of one attempt. Appending is O(new text); the whole is joined only on request.

    Args:
        max_bytes: Of text and reasoning together, as JSON. The rest is dropped, and ``full`` is set.

    Attributes:
        seq: The number of the last chunk.
        full: The limit is reached; nothing more is added.
    """

    def __init__(self, *, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._remaining = max_bytes
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
                    runs.append(self._end_run(kind, from_, texts))
                kind, texts, from_ = piece.kind, [], self.seq + 1
            text = self._cut(piece.text)
            if text:
                texts.append(text)
                self.seq += 1
            if self.full:
                break
        if kind is not None and texts:
            runs.append(self._end_run(kind, from_, texts))
        return runs

    def _cut(self, text: str) -> str:
        size = json_size(text)
        if size > self._remaining:
            self.full = True
            text = cut_to_json_size(text, self._remaining)
            size = json_size(text)
        self._remaining -= size
        return text

    def _end_run(self, kind: Kind, from_: int, texts: list[str]) -> Run:
        text = texts[0] if len(texts) == 1 else "".join(texts)
        (self._text if kind == "text" else self._reasoning).append(text)
        return Run(kind, from_, self.seq, text)


class Answer:
    """What one generation has produced so far.

    Attributes:
        attempt: 0 until the first claim.
        status: ``retrying`` while the worker waits before its next request to the provider.
        content: The text and reasoning of the current attempt.
        model: The model of the latest request; None before it.
        usage: The tokens of all requests so far; None before the first that the provider answered.
    """

    def __init__(self, *, chat_id: str, generation_id: str, message_id: str) -> None:
        self.chat_id = chat_id
        self.generation_id = generation_id
        self.message_id = message_id
        self.attempt = 0
        self.status: Literal["running", "retrying"] = "running"
        self.content = AttemptText()
        self.model: str | None = None
        self.usage: Usage | None = None

    def start_attempt(self, claim: Claimed) -> None:
        """Apply a claim. A claim to stream starts with empty text; any other ends the answer with the text so far."""
        self.attempt = claim.attempt
        self.status = "running"
        if claim.verdict == "stream":
            self.content = AttemptText()

    def snapshot(self) -> GenerationSnapshot:
        """Return the whole answer so far; later deltas have ``from`` > ``seq``."""
        return GenerationSnapshot(
            generation_id=self.generation_id,
            message_id=self.message_id,
            attempt=self.attempt,
            status=self.status,
            seq=self.content.seq,
            text=self.content.text,
            reasoning=self.content.reasoning,
        )

    def book(self, requested_tokens: int, input_tokens: int | None, output_tokens: int | None) -> None:
        """Add the tokens of a request that the provider answered; what it did not count is estimated.

        Args:
            requested_tokens: The estimated size of the context.
            input_tokens, output_tokens: As the provider counted them.
        """
        estimated = input_tokens is None or output_tokens is None
        if input_tokens is None:
            input_tokens = requested_tokens
        if output_tokens is None:
            output_tokens = context.tokens_in(self.content.text) + context.tokens_in(self.content.reasoning)
        self._add(input_tokens, output_tokens, estimated=estimated)

    def book_estimate(self, requested_tokens: int, text: str, reasoning: str) -> None:
        """Add the estimated tokens of a request whose answer got this far, made by another worker."""
        self._add(requested_tokens, context.tokens_in(text) + context.tokens_in(reasoning), estimated=True)

    def _add(self, input_tokens: int, output_tokens: int, *, estimated: bool) -> None:
        before = self.usage or Usage(input_tokens=0, output_tokens=0)
        self.usage = Usage(
            input_tokens=before.input_tokens + input_tokens,
            output_tokens=before.output_tokens + output_tokens,
            estimated=before.estimated or estimated,
        )


def json_size(text: str) -> int:
    """Bytes of ``text`` within a JSON string."""
    return len(_encode(text)) - 2


def cut_to_json_size(text: str, limit: int) -> str:
    """Return the longest beginning of ``text`` that takes at most ``limit`` bytes as JSON."""
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
