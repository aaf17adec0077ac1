"""Decodes a streamed chat completion: the bytes of the provider's stream in, pieces of the answer out. No I/O.

Whatever the stream holds, the text before an error is returned: the error is an attribute, not an exception. The result
does not depend on where one read ended and the next began.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from llm_worker.errors import ProviderError
from llm_worker.provider import chunks, error_mapping, error_templates, finish_reason
from llm_worker.provider.chunks import Chunk, NotJson
from llm_worker.provider.sse import MAX_EVENT_BYTES, Event, EventDecoder
from llm_worker.provider.surrogates import join
from llm_worker.provider.think_tag import Split, ThinkTag
from llm_worker.provider.tool_calls import ToolCallDecoder
from parley.contracts.completion import PartKind, ToolDelta
from parley.contracts.frames import Kind
from parley.contracts.text import storable

_DONE: Final = b"[DONE]"
_TEXT: Final[Literal["text"]] = "text"
_REASONING: Final[Literal["reasoning"]] = "reasoning"
_MAX_AFTER_CALLS: Final = 100_000
"""Characters that may wait for the end of a call's arguments."""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """The text of one of the model's chunks, or its news of a tool call."""

    kind: PartKind
    text: str
    tool: ToolDelta | None = None


class CompletionDecoder:
    """Decodes one stream of ``chat.completion.chunk`` objects, or a JSON body in its place.

    Args:
        model: Named in error messages.
        think_tag: Read a leading ``<think>…</think>`` of the content as reasoning.
        calls: Decodes the tool calls.

    Attributes:
        finish_reason: Why the model ended, one of :mod:`llm_worker.provider.finish_reason`; None until it has ended.
        input_tokens: The newest count that the provider gave.
        output_tokens: As ``input_tokens``.
        done: ``[DONE]`` was received. Some providers end without it.
        error: The error that the provider reported, or that made the rest of the stream unreadable.
        progress: How many events held something of the answer: text, reasoning or a tool call. Comments are no events.
    """

    def __init__(self, *, model: str = "", think_tag: bool = True, calls: ToolCallDecoder | None = None) -> None:
        self._model = model
        self._events = EventDecoder()
        self._body: list[bytes] | None = None
        self._body_bytes = 0
        self._begun = False
        self._pieces = _PieceDecoder(calls or ToolCallDecoder(), think_tag=think_tag)
        self.finish_reason: str | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.done = False
        self.error: ProviderError | None = None
        self.progress = 0

    @property
    def ended(self) -> bool:
        """Whether the model has ended its answer; a stream that ends without that was cut off."""
        return self.done or self.finish_reason is not None

    def feed(self, read: bytes) -> list[Piece]:
        """Decode the bytes of one read and return the pieces of the answer in it."""
        if not self._begun:
            self._detect_body(read)
        if self._body is not None:
            self._append_to_body(read)
            return []
        pieces: list[Piece] = []
        for event in self._events.feed(read):
            self._decode_event(event, pieces)
        if self._events.overflowed:
            self._fail_too_large()
        return pieces

    def close(self) -> list[Piece]:
        """End the stream, for whatever reason, and return the text that waited for more."""
        pieces: list[Piece] = []
        if self._body is not None:
            body, self._body = b"".join(self._body), None
            self._decode_body(body, pieces)
        else:
            for event in self._events.close():
                self._decode_last_event(event, pieces)
        self._pieces.close(pieces, regular=self.ended)
        return pieces

    # --- a JSON body -------------------------------------------------------------------------------------------------

    def _detect_body(self, read: bytes) -> None:
        """Decide by the first byte that is not blank, not by the content type: a body that begins with a brace or a
        bracket is no stream."""
        first = read.lstrip()[:1]
        if first:
            self._begun = True
        if first in (b"{", b"[", b"<"):
            self._body = []

    def _append_to_body(self, read: bytes) -> None:
        assert self._body is not None
        self._body_bytes += len(read)
        if self._body_bytes <= MAX_EVENT_BYTES:
            self._body.append(read)
        else:
            self._fail_too_large()

    def _decode_body(self, body: bytes, pieces: list[Piece]) -> None:
        if self.error is not None:
            return
        try:
            self._decode_json(body, pieces)
        except NotJson as error:
            # A stream may begin with a line of JSON.
            events = self._events.feed(body) + self._events.close()
            if not events:
                self._fail(error_templates.UNREADABLE.error(f"{error}: {body[:200]!r}"))
            for event in events:
                self._decode_event(event, pieces)
            return
        if not self.progress and self.finish_reason is None:
            self._fail(error_templates.UNREADABLE.error(f"neither a stream nor an answer: {body[:200]!r}"))
        self.done = True

    # --- events ------------------------------------------------------------------------------------------------------

    def _decode_event(self, event: Event, pieces: list[Piece]) -> None:
        if self.done or self.error is not None:
            return
        data = event.data
        is_error = bool(event.name) and b"error" in event.name.lower()
        if not is_error:
            try:
                chunk = chunks.decode_usual(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
            else:
                if self._apply_usual(chunk, pieces):
                    return
        data = data.strip()
        if data == _DONE:
            self.done = True
        elif is_error:
            self._fail(error_mapping.from_stream(data, model=self._model))
        elif data:
            self._decode_lenient(event.name, data, pieces)

    def _decode_lenient(self, name: bytes, data: bytes, pieces: list[Piece]) -> None:
        try:
            self._decode_json(data, pieces)
        except NotJson as error:
            lines = data.split(b"\n")
            if len(lines) == 1:
                self._fail(error_templates.UNREADABLE.error(f"{error}: {data[:200]!r}"))
                return
            # A server that leaves out the empty lines between its events.
            for line in lines:
                self._decode_event(Event(name, line), pieces)

    def _decode_last_event(self, event: Event, pieces: list[Piece]) -> None:
        """Decode the event that the stream ended in if it is whole; one that was cut off is ignored."""
        try:
            if event.data.strip() != _DONE:
                chunks.parse(event.data)
        except NotJson:
            return
        self._decode_event(event, pieces)

    def _apply_usual(self, chunk: chunks.UsualChunk, pieces: list[Piece]) -> bool:
        """Apply a chunk of the API's documented shape. If it holds more than is read here, do nothing and return
        False."""
        choice = chunk.choices[0]
        delta = choice.delta
        reasoning = delta.reasoning_content or delta.reasoning
        if not reasoning and delta.reasoning_details is not None:
            return False
        if reasoning:
            self.progress += 1
            self._pieces.add(_REASONING, reasoning, pieces)
        if text := delta.content or delta.refusal:
            self.progress += 1
            self._pieces.add(_TEXT, text, pieces)
        if delta.tool_calls or delta.function_call:
            self._add_calls(chunks.tool_calls(delta.tool_calls, delta.function_call), pieces)
        if choice.finish_reason and (reason := choice.finish_reason.strip()):
            self.finish_reason = finish_reason.normalized(reason[: chunks.MAX_REASON])
        if (usage := chunk.usage) is not None:
            if 0 <= usage.prompt_tokens <= chunks.MAX_COUNT:
                self.input_tokens = usage.prompt_tokens
            if 0 <= usage.completion_tokens <= chunks.MAX_COUNT:
                self.output_tokens = usage.completion_tokens
        return True

    def _decode_json(self, data: bytes, pieces: list[Piece]) -> None:
        """Raises NotJson."""
        for chunk in chunks.read(data):
            if self.error is None:
                self._apply(chunk, pieces)

    def _apply(self, chunk: Chunk, pieces: list[Piece]) -> None:
        if chunk.reasoning:
            self.progress += 1
            self._pieces.add_lenient(_REASONING, chunk.reasoning, pieces)
        if chunk.text:
            self.progress += 1
            self._pieces.add_lenient(_TEXT, chunk.text, pieces)
        if chunk.tool_calls:
            self._add_calls(chunk.tool_calls, pieces)
        if chunk.encrypted:
            self._pieces.add_encrypted(chunk.encrypted, pieces)
        if chunk.finish_reason is not None:
            self.finish_reason = finish_reason.normalized(chunk.finish_reason)
        if chunk.input_tokens is not None:
            self.input_tokens = chunk.input_tokens
        if chunk.output_tokens is not None:
            self.output_tokens = chunk.output_tokens
        if chunk.error is not None:
            self._fail(error_mapping.from_stream(chunk.error, model=self._model))

    def _add_calls(self, entries: Sequence[Any], pieces: list[Piece]) -> None:
        self.progress += 1
        self._pieces.add_calls(entries, pieces)

    def _fail(self, error: ProviderError) -> None:
        if self.error is None:
            self.error = error

    def _fail_too_large(self) -> None:
        self._fail(
            error_templates.TOO_LARGE.error(
                f"more than {MAX_EVENT_BYTES} bytes without the end of an event", mebibytes=MAX_EVENT_BYTES >> 20
            )
        )


class _PieceDecoder:
    """Makes pieces of the text of chunks: splits off a leading think tag and joins surrogates that chunks cut apart.

    Text within the arguments of a call waits for their end.
    """

    def __init__(self, calls: ToolCallDecoder, *, think_tag: bool) -> None:
        self._calls = calls
        self._has_calls = False
        self._after_calls: list[tuple[Kind, str]] = []
        self._after_calls_size = 0
        self._think = ThinkTag() if think_tag else None
        self._surrogates: dict[Kind, str] = {}
        self._verbatim = not think_tag

    def add(self, kind: Kind, text: str, pieces: list[Piece]) -> None:
        """Add text that holds no lone surrogates."""
        if self._verbatim:  # nearly every chunk
            pieces.append(Piece(kind, storable(text)))
        else:
            self.add_lenient(kind, text, pieces)

    def add_lenient(self, kind: Kind, text: str, pieces: list[Piece]) -> None:
        if self._has_calls:
            self._after_calls.append((kind, text))
            self._after_calls_size += len(text)
            if self._calls.is_complete or self._after_calls_size > _MAX_AFTER_CALLS:
                self._end_calls(pieces, regular=False)
            return
        text = self._joined(kind, text)
        if kind == _REASONING:
            # A provider that sends reasoning in a field of its own means a tag in the text as text.
            self._end_think_tag(pieces)
        if kind == _TEXT and self._think is not None:
            self._append(self._think.feed(text), pieces)
            if self._think.over:
                self._think = None
        elif text:
            pieces.append(Piece(kind, storable(text)))
        self._verbatim = self._think is None and not self._surrogates

    def add_calls(self, entries: Sequence[Any], pieces: list[Piece]) -> None:
        """Add the entries of tool calls; a tag that has not ended before them ends."""
        if deltas := self._calls.feed(entries):
            self._end_think_tag(pieces)
            pieces += [Piece("tool", "", delta) for delta in deltas]
        self._has_calls = True
        self._verbatim = False
        if self._after_calls and self._calls.is_complete:
            self._end_calls(pieces, regular=False)

    def add_encrypted(self, entries: Sequence[dict[str, Any]], pieces: list[Piece]) -> None:
        pieces += [Piece("tool", "", delta) for delta in self._calls.add_encrypted(entries)]

    def close(self, pieces: list[Piece], *, regular: bool) -> None:
        self._end_calls(pieces, regular=regular)
        self._end_think_tag(pieces)
        pieces.extend(Piece(kind, "\ufffd") for kind in self._surrogates)
        self._surrogates.clear()

    def _end_calls(self, pieces: list[Piece], *, regular: bool) -> None:
        pieces += [Piece("tool", "", delta) for delta in self._calls.close(regular=regular)]
        self._has_calls = False
        self._verbatim = self._think is None and not self._surrogates
        waiting, self._after_calls, self._after_calls_size = self._after_calls, [], 0
        for kind, text in waiting:
            self.add_lenient(kind, text, pieces)

    def _end_think_tag(self, pieces: list[Piece]) -> None:
        think, self._think = self._think, None
        if think is not None:
            self._append(think.close(), pieces)

    def _append(self, split: Split, pieces: list[Piece]) -> None:
        if split.reasoning:
            pieces.append(Piece(_REASONING, storable(split.reasoning)))
        if split.text:
            pieces.append(Piece(_TEXT, storable(split.text)))

    def _joined(self, kind: Kind, text: str) -> str:
        """The text with its surrogate pairs joined."""
        text, waiting = join(self._surrogates.pop(kind, ""), text)
        if waiting:
            self._surrogates[kind] = waiting
        return text
