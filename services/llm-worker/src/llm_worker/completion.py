"""What a streamed chat completion says: the bytes of the provider's stream in, pieces of the answer out. No I/O."""

import re
from typing import Any, Final, Literal, NamedTuple

import msgspec

from llm_worker import failures
from llm_worker.errors import EventTooLarge
from llm_worker.sse import Event, EventDecoder
from parley.contracts.frames import Kind
from parley.contracts.resources import Usage
from parley.contracts.text import storable

_DONE: Final = b"[DONE]"
_ERROR_EVENT: Final = b"error"

_HALF_A_CHARACTER: Final = re.compile(
    r"\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f][0-9a-f]{2})|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}", re.IGNORECASE
)
"""A surrogate without its other half, in JSON's spelling: servers that stream tokens may cut a character in two."""


class Piece(NamedTuple):
    """The text of one of the model's chunks."""

    kind: Kind
    text: str


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None
    index: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode

_TEXT: Final[Literal["text"]] = "text"
_REASONING: Final[Literal["reasoning"]] = "reasoning"


class CompletionStream:
    """Reads one stream of ``chat.completion.chunk`` objects.

    Attributes:
        finish_reason: The model's word for why it ended, once it has said it.
        usage: The newest count that the provider gave.
        done: ``[DONE]`` came. Some providers end without it.
    """

    def __init__(self) -> None:
        self._events = EventDecoder()
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.done = False

    @property
    def ended(self) -> bool:
        """Whether the model has said that this was all; a stream that ends without that was cut off."""
        return self.done or self.finish_reason is not None

    def feed(self, chunk: bytes) -> list[Piece]:
        """Take what one read held and return the pieces of the answer in it.

        Raises:
            ProviderFailure: the provider reported an error in mid-stream, or sent what is not a chunk.
        """
        try:
            events = self._events.feed(chunk)
        except EventTooLarge as error:
            raise failures.not_understood(str(error)) from error
        pieces: list[Piece] = []
        for event in events:
            self._take(event, pieces)
        return pieces

    def _take(self, event: Event, pieces: list[Piece]) -> None:
        data = event.data
        if self.done:
            return
        if data == _DONE:
            self.done = True
            return
        if event.name == _ERROR_EVENT:
            raise failures.from_stream(data)
        if not data:
            return
        chunk = _chunk_of(data)
        if chunk.error is not None:
            raise failures.from_stream(data)
        if chunk.usage is not None:
            self.usage = Usage(input_tokens=chunk.usage.prompt_tokens, output_tokens=chunk.usage.completion_tokens)
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        delta = choice.delta
        if delta is not None:
            if reasoning := delta.reasoning_content or delta.reasoning:
                pieces.append(Piece(_REASONING, storable(reasoning)))
            # A refusal is what the model answers instead, in words for the reader.
            if text := delta.content or delta.refusal:
                pieces.append(Piece(_TEXT, storable(text)))
        if choice.finish_reason is not None:
            self.finish_reason = choice.finish_reason


def _chunk_of(data: bytes) -> _Chunk:
    try:
        return _decode_chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        # An event stream is decoded "with replacement": one bad byte, or half a character, does not end an answer.
        return _decode_chunk(_HALF_A_CHARACTER.sub(r"\\ufffd", data.decode(errors="replace")))
    except msgspec.DecodeError as error:
        raise failures.not_understood(f"{error}: {data[:200]!r}") from error
