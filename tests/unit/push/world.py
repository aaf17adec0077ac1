"""The readers of a room, as strict as can be."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import msgspec

from parley.contracts.assembly import default_layout, extend_layout, merge_tool
from parley.contracts.completion import Span, ToolCall
from parley.contracts.frames import (
    ChatFrame,
    Cursor,
    Delta,
    Error,
    Generation,
    MessageFrame,
    Presence,
    Ready,
    RunningAnswer,
    ServerFrame,
    Snapshot,
)
from parley.contracts.resources import Chat, Message
from push.rooms.reader import Reader
from push.transport.cursors import parse_event_id
from tests.support.chat_store.scripted_chat import Said

_server_frame = msgspec.json.Decoder(ServerFrame)


def make_reader(
    user_id: str, write: Callable[[bytes], object], cursor: Cursor | None = None, *, events: bool = False
) -> Reader:
    """Return a reader whose connection can take more."""
    return Reader(user_id, write, cursor, write_long=write, dropped=lambda: None, events=events, writable=True)


def unframe(data: bytes) -> list[ServerFrame]:
    """Take unmasked, unfragmented websocket text frames apart."""
    frames = []
    while data:
        assert data[0] == 0x81
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4]), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10]), 10
        frames.append(_server_frame.decode(data[start : start + length]))
        data = data[start + length :]
    return frames


def split_events(data: bytes) -> list[tuple[str | None, ServerFrame]]:
    """Take server-sent events apart, into their ids and frames."""
    events = []
    *blocks, rest = data.split(b"\n\n")
    assert not rest
    for block in blocks:
        lines = block.split(b"\n")
        event_id = lines.pop(0).removeprefix(b"id: ").decode() if len(lines) == 2 else None
        assert lines[0].startswith(b"data: {")
        events.append((event_id, _server_frame.decode(lines[0].removeprefix(b"data: "))))
    return events


@dataclass
class Running:
    generation_id: str
    message_id: str
    attempt: int
    seq: int
    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    layout: list[Span] = field(default_factory=list)

    @property
    def said(self) -> Said:
        return Said(self.text, self.reasoning, self.calls, self.layout)


class Client:
    """A reader's end of the protocol, by the book: whatever it may not be sent is an AssertionError.

    Attributes:
        frames: All that it was sent.
        version: −1 before the first snapshot.
        present: Who has the chat open, by the last ``presence`` frame.
        events: It reads server-sent events, and comes back with the id of the last one.
    """

    def __init__(self, *, events: bool = False) -> None:
        self.events = events
        self.last_event_id: str | None = None
        self.frames: list[ServerFrame] = []
        self.version = -1
        self.messages: dict[str, Message] = {}
        self.chat: Chat | None = None
        self.running: Running | None = None
        self.refused: str | None = None
        self.gone = False
        self.present: dict[str, str] | None = None
        self._past: list[tuple[int, dict[str, Message], Chat | None, Running | None, str | None]] = []

    @property
    def cursor(self) -> Cursor | None:
        """What it would watch again with."""
        if self.events:
            return parse_event_id(self.last_event_id)
        if self.version < 0:
            return None
        if self.running is None:
            return Cursor(version=self.version)
        return Cursor(
            version=self.version,
            generation_id=self.running.generation_id,
            attempt=self.running.attempt,
            seq=self.running.seq,
        )

    def write(self, data: bytes) -> None:
        for event_id, frame in split_events(data) if self.events else ((None, frame) for frame in unframe(data)):
            self._past.append(
                (self.version, dict(self.messages), self.chat, deepcopy(self.running), self.last_event_id)
            )
            self.frames.append(frame)
            self.take(frame)
            self.last_event_id = event_id or self.last_event_id

    def lose(self, frames: int) -> None:
        """The connection broke before the last ``frames`` frames came through."""
        for _ in range(min(frames, len(self._past))):
            self.frames.pop()
            self.version, self.messages, self.chat, self.running, self.last_event_id = self._past.pop()

    def take(self, frame: ServerFrame) -> None:
        match frame:
            case Snapshot():
                self._take_snapshot(frame)
            case MessageFrame():
                assert frame.version >= self.version >= 0
                self.version = frame.version
                self._put(frame.message)
            case ChatFrame():
                self.gone = frame.chat is None
                self.chat = frame.chat
                self.version = frame.version
            case Generation():
                self._take_generation(frame)
            case Delta():
                self._take_delta(frame)
            case Error():
                self.refused = frame.code
            case Presence():
                self.present = {user.user_id: user.state for user in frame.users}
            case Ready():
                raise AssertionError("a room does not send this")

    def _take_snapshot(self, frame: Snapshot) -> None:
        if not frame.recovered:
            self.messages = {}
        else:
            # Between two frames of a change, the id of an event is still that of the version before.
            known = self.cursor.version if self.events and self.cursor is not None else self.version
            assert frame.version >= known >= 0
        self.version, self.chat = frame.version, frame.chat
        answer = frame.generation
        if answer is None:
            self.running = None
        elif answer.after == 0:
            self.running = Running(
                answer.generation_id, answer.message_id, answer.attempt, answer.seq, answer.text, answer.reasoning
            )
            self._take_calls(self.running, answer)
        else:
            running = self.running
            assert running is not None
            assert running.generation_id == answer.generation_id
            assert running.attempt == answer.attempt
            assert running.seq == answer.after
            running.seq = answer.seq
            running.text += answer.text
            running.reasoning += answer.reasoning
            if answer.seq > answer.after:
                self._take_calls(running, answer)
        for message in frame.messages:
            self._put(message)

    def _take_calls(self, running: Running, answer: RunningAnswer) -> None:
        running.calls = list(answer.tool_calls)
        running.layout = list(answer.layout) or default_layout(running.text, running.reasoning, running.calls)

    def _take_generation(self, frame: Generation) -> None:
        running = self.running
        if running is not None and running.generation_id == frame.generation_id:
            assert frame.attempt >= running.attempt
            if frame.attempt == running.attempt:
                assert frame.status == "retrying" or running.seq == 0
                return
        self.running = Running(frame.generation_id, frame.message_id, frame.attempt, 0)

    def _take_delta(self, frame: Delta) -> None:
        running = self.running
        assert running is not None
        assert running.generation_id == frame.generation_id
        assert running.attempt == frame.attempt
        assert frame.from_ == running.seq + 1, "a gap, or twice the same"
        assert frame.to >= frame.from_
        running.seq = frame.to
        if frame.tool is not None:
            assert not frame.text
            if merge_tool(running.calls, frame.tool):
                extend_layout(running.layout, "tool")
            return
        extend_layout(running.layout, frame.kind, len(frame.text))
        if frame.kind == "text":
            running.text += frame.text
        else:
            running.reasoning += frame.text

    def _put(self, message: Message) -> None:
        known = self.messages.get(message.id)
        if known is None or known.version <= message.version:
            self.messages[message.id] = message
        ended = message.status in ("complete", "stopped", "failed")
        if ended and self.running is not None and self.running.message_id == message.id:
            self.running = None
