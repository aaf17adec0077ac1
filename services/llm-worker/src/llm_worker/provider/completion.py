"""What a streamed chat completion says: the bytes of the provider's stream in, pieces of the answer out. No I/O.

Whatever the stream holds, what was said before is given out: an error is an attribute, not an exception. Where the
reads fell does not matter for anything that is found here.
"""

from typing import Final, Literal

import msgspec

from llm_worker.errors import ProviderFailure
from llm_worker.provider import chunks, failures, finish
from llm_worker.provider.chunks import Chunk, NotJson
from llm_worker.provider.sse import MAX_EVENT_BYTES, Event, EventDecoder
from llm_worker.provider.think import Split, ThinkTag
from parley.contracts.frames import Kind
from parley.contracts.text import storable

_DONE: Final = b"[DONE]"
_TEXT: Final[Literal["text"]] = "text"
_REASONING: Final[Literal["reasoning"]] = "reasoning"


class Piece(msgspec.Struct, frozen=True, gc=False):
    """The text of one of the model's chunks."""

    kind: Kind
    text: str


class CompletionStream:
    """Reads one stream of ``chat.completion.chunk`` objects, or the JSON body that came in its place.

    Args:
        model: Named in what people are told.
        think_tag: Read a leading ``<think>…</think>`` of the content as reasoning.

    Attributes:
        finish_reason: Why the model ended, in the words of :mod:`llm_worker.provider.finish`, once it has said it.
        input_tokens: The newest count that the provider gave.
        output_tokens: As ``input_tokens``.
        done: ``[DONE]`` came. Some providers end without it.
        failure: The error that the provider reported, or what made the rest of the stream unreadable.
        has_tool_calls: The model called a tool.
        progress: How many events held something of the answer: text, reasoning or a tool call. Comments are no events.
    """

    def __init__(self, *, model: str = "", think_tag: bool = True) -> None:
        self._model = model
        self._events = EventDecoder()
        self._body: list[bytes] | None = None
        self._body_bytes = 0
        self._begun = False
        self._think = ThinkTag() if think_tag else None
        self._half: dict[Kind, str] = {}
        self._plain = not think_tag
        self.finish_reason: str | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.done = False
        self.failure: ProviderFailure | None = None
        self.has_tool_calls = False
        self.progress = 0

    @property
    def ended(self) -> bool:
        """Whether the model has said that this was all; a stream that ends without that was cut off."""
        return self.done or self.finish_reason is not None

    def feed(self, read: bytes) -> list[Piece]:
        """Take what one read held and return the pieces of the answer in it."""
        if not self._begun:
            read = self._begin(read)
        if self._body is not None:
            self._keep(read)
            return []
        pieces: list[Piece] = []
        for event in self._events.feed(read):
            self._take(event, pieces)
        if self._events.overflowed:
            self._fail(failures.too_large_an_event(MAX_EVENT_BYTES))
        return pieces

    def close(self) -> list[Piece]:
        """Take note that nothing more will come, for whatever reason, and return what was held back."""
        pieces: list[Piece] = []
        if self._body is not None:
            body, self._body = b"".join(self._body), None
            self._take_body(body, pieces)
        else:
            for event in self._events.close():
                self._take_last(event, pieces)
        if self._think is not None:
            self._add(pieces, self._think.close())
        for kind in self._half:
            pieces.append(Piece(kind, "\ufffd"))
        self._half.clear()
        return pieces

    # --- the body ----------------------------------------------------------------------------------------------------

    def _begin(self, read: bytes) -> bytes:
        """Look at the first byte that is not blank: a body that begins with a brace or a bracket is JSON, whatever
        its content type says; so is a stream one that begins otherwise."""
        blank = not read.strip(b" \t\r\n")
        if blank:
            return read
        self._begun = True
        if read.lstrip()[:1] in (b"{", b"[", b"<"):
            self._body = []
        return read

    def _keep(self, read: bytes) -> None:
        assert self._body is not None
        self._body_bytes += len(read)
        if self._body_bytes <= MAX_EVENT_BYTES:
            self._body.append(read)
        else:
            self._fail(failures.too_large_an_event(MAX_EVENT_BYTES))

    def _take_body(self, body: bytes, pieces: list[Piece]) -> None:
        if self.failure is not None:
            return
        try:
            self._take_json(body, pieces)
        except NotJson as error:
            # A stream may begin with a line of JSON.
            events = self._events.feed(body) + self._events.close()
            if not events:
                self._fail(failures.not_understood(f"{error}: {body[:200]!r}"))
            for event in events:
                self._take(event, pieces)
            return
        if not self.progress and self.finish_reason is None:
            self._fail(failures.not_understood(f"neither a stream nor an answer: {body[:200]!r}"))
        self.done = True

    # --- events ------------------------------------------------------------------------------------------------------

    def _take(self, event: Event, pieces: list[Piece]) -> None:
        if self.done or self.failure is not None:
            return
        data = event.data
        is_error = bool(event.name) and b"error" in event.name.lower()
        if not is_error:
            try:
                chunk = chunks.usual(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
            else:
                if self._take_usual(chunk, pieces):
                    return
        data = data.strip()
        if data == _DONE:
            self.done = True
        elif is_error:
            self._fail(failures.from_stream(data, model=self._model))
        elif data:
            try:
                self._take_json(data, pieces)
            except NotJson as error:
                lines = data.split(b"\n")
                if len(lines) == 1:
                    self._fail(failures.not_understood(f"{error}: {data[:200]!r}"))
                else:
                    # A server that leaves out the empty lines between its events.
                    for line in lines:
                        self._take(Event(event.name, line), pieces)

    def _take_last(self, event: Event, pieces: list[Piece]) -> None:
        """Take the event that the stream ended in: it is whole, or it was cut off and counts for nothing."""
        try:
            if event.data.strip() != _DONE:
                chunks.parse(event.data)
        except NotJson:
            return
        self._take(event, pieces)

    def _take_usual(self, chunk: chunks.UsualChunk, pieces: list[Piece]) -> bool:
        """Take a chunk in which all is as the API says; when it holds more than is looked at here, do nothing and
        return False."""
        if len(chunk.choices) != 1 or chunk.error is not None or chunk.base_resp is not None:
            return False
        choice = chunk.choices[0]
        delta = choice.delta
        reasoning = delta.reasoning_content or delta.reasoning
        if not reasoning and delta.reasoning_details is not None:
            return False
        if choice.index or choice.text is not None or choice.error is not None:
            return False
        if reasoning:
            self.progress += 1
            if self._plain:
                pieces.append(Piece(_REASONING, storable(reasoning)))
            else:
                self._say(pieces, _REASONING, reasoning)
        if text := delta.content or delta.refusal:
            self.progress += 1
            if self._plain:
                pieces.append(Piece(_TEXT, storable(text)))
            else:
                self._say(pieces, _TEXT, text)
        if delta.tool_calls or delta.function_call:
            self.has_tool_calls = True
            self.progress += 1
        if choice.finish_reason and (reason := choice.finish_reason.strip()):
            self.finish_reason = finish.named(reason[: chunks.MAX_REASON])
        if (usage := chunk.usage) is not None:
            if 0 <= usage.prompt_tokens <= chunks.MAX_COUNT:
                self.input_tokens = usage.prompt_tokens
            if 0 <= usage.completion_tokens <= chunks.MAX_COUNT:
                self.output_tokens = usage.completion_tokens
        return True

    def _take_json(self, data: bytes, pieces: list[Piece]) -> None:
        """Raises NotJson."""
        for chunk in chunks.read(data):
            if self.failure is None:
                self._take_chunk(chunk, pieces)

    def _take_chunk(self, chunk: Chunk, pieces: list[Piece]) -> None:
        if chunk.reasoning:
            self.progress += 1
            self._say(pieces, _REASONING, chunk.reasoning)
        if chunk.text:
            self.progress += 1
            self._say(pieces, _TEXT, chunk.text)
        if chunk.has_tool_calls:
            self.has_tool_calls = True
            self.progress += 1
        if chunk.finish_reason is not None:
            self.finish_reason = finish.named(chunk.finish_reason)
        self._count(chunk.input_tokens, chunk.output_tokens)
        if chunk.error is not None:
            self._fail(failures.from_stream(chunk.error, model=self._model))

    # --- what they say -----------------------------------------------------------------------------------------------

    def _say(self, pieces: list[Piece], kind: Kind, text: str) -> None:
        text = self._whole(kind, text)
        if kind == _REASONING:
            # Whoever sends it apart means a tag in the text as text.
            self._settle_think(pieces)
        if kind == _TEXT and self._think is not None:
            self._add(pieces, self._think.feed(text))
            if self._think.over:
                self._think = None
        elif text:
            pieces.append(Piece(kind, storable(text)))
        self._plain = self._think is None and not self._half

    def _settle_think(self, pieces: list[Piece]) -> None:
        think, self._think = self._think, None
        if think is not None:
            self._add(pieces, think.close())

    def _add(self, pieces: list[Piece], split: Split) -> None:
        if split.reasoning:
            pieces.append(Piece(_REASONING, storable(split.reasoning)))
        if split.text:
            pieces.append(Piece(_TEXT, storable(split.text)))

    def _whole(self, kind: Kind, text: str) -> str:
        """The text with its halves of characters joined: one that it ends with waits for its other half, and one
        without is replaced, for nobody can write it down."""
        if not self._half and text.isascii():
            return text
        text = self._half.pop(kind, "") + text
        if "\ud800" <= text[-1:] <= "\udbff":
            self._half[kind] = text[-1]
            text = text[:-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _count(self, input_tokens: int | None, output_tokens: int | None) -> None:
        if input_tokens is not None:
            self.input_tokens = input_tokens
        if output_tokens is not None:
            self.output_tokens = output_tokens

    def _fail(self, failure: ProviderFailure) -> None:
        if self.failure is None:
            self.failure = failure
