"""The readers of the load generator, with as little work per frame as the measurement allows."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

import msgspec

from parley.contracts import frames
from parley.contracts.resources import Message
from parley_bench.socket import RawSocket
from parley_client.state import TERMINAL, ChatState, Outcome, decode

_DELTA = b'{"type":"delta"'
_TEXT = b'"text":"'


def digest(messages: Iterable[Message]) -> str:
    """Two readers with the same digest have the same texts, byte for byte."""
    texts = sorted((each.id, each.status, each.content, each.reasoning) for each in messages)
    return hashlib.sha256(msgspec.json.encode(texts)).hexdigest()


class Counters:
    """Counts of all readers of one process since the last :meth:`reset`.

    Attributes:
        delays: Nanoseconds from the model's write of each timed token to its arrival here.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.frames = 0
        self.bytes = 0
        self.delays: list[int] = []


class Reader:
    """One socket that follows one chat.

    Attributes:
        caught_up_at: When the first snapshot of the present connection came (``time.monotonic()``).
    """

    def __init__(self, chat_id: str, counters: Counters, receive_buffer: int | None = None) -> None:
        self.chat_id = chat_id
        self.counters = counters
        self._receive_buffer = receive_buffer
        self.caught_up_at: float | None = None
        self.socket: RawSocket

    async def connect(self, url: str, ticket: str) -> None:
        self.caught_up_at = None
        watch = frames.Watch(chat_id=self.chat_id, after=self.cursor)
        self.socket = RawSocket([frames.Auth(ticket=ticket), watch], self.receive)
        await self.socket.connect(url, self._receive_buffer)

    @property
    def cursor(self) -> frames.Cursor | None:
        return None

    @property
    def finished(self) -> bool:
        """Whether this reader has received the end of an answer."""
        raise NotImplementedError

    def receive(self, data: bytes) -> None:
        raise NotImplementedError


class CountingReader(Reader):
    """Counts frames; knows when an answer ends."""

    finished = False

    def receive(self, data: bytes) -> None:
        if data.startswith(_DELTA):
            self.counters.frames += 1
            self.counters.bytes += len(data)
            self.delta(data)
        elif data.startswith(b'{"type":"snapshot"'):
            self.caught_up_at = time.monotonic()
        elif data.startswith(b'{"type":"message"'):
            frame = decode(data)
            if isinstance(frame, frames.MessageFrame) and frame.message.status in TERMINAL:
                self.finished = True

    def delta(self, data: bytes) -> None:
        """One frame of new text."""


class TimingReader(CountingReader):
    """Measures the delay of timed tokens (``demo-timed-…``): the text is nothing but numbers and spaces."""

    def delta(self, data: bytes) -> None:
        now = time.monotonic_ns()
        start = data.index(_TEXT) + len(_TEXT)
        for word in data[start : data.index(b'"', start)].split():
            self.counters.delays.append(now - int(word))


class AssemblingReader(Reader):
    """Assembles all messages, as a page does, and resumes from its cursor."""

    def __init__(self, chat_id: str, counters: Counters, receive_buffer: int | None = None) -> None:
        super().__init__(chat_id, counters, receive_buffer)
        self.state = ChatState(chat_id)
        self.gaps = 0

    @property
    def cursor(self) -> frames.Cursor | None:
        return self.state.cursor

    @property
    def finished(self) -> bool:
        return any(message.status in TERMINAL for message in self.state.messages)

    def receive(self, data: bytes) -> None:
        frame = decode(data)
        if frame is None:
            return
        self.counters.frames += isinstance(frame, frames.Delta)
        self.counters.bytes += len(data)
        outcome = self.state.merge(frame)
        if isinstance(frame, frames.Snapshot):
            self.caught_up_at = time.monotonic()
        if outcome is Outcome.GAP:
            self.gaps += 1
            self.socket.send(frames.Watch(chat_id=self.chat_id, after=self.cursor))

    @property
    def digest(self) -> str:
        """The digest of the assembled messages."""
        return digest(self.state.messages)


KINDS: dict[str, type[Reader]] = {
    "counting": CountingReader,
    "timing": TimingReader,
    "assembling": AssemblingReader,
}
