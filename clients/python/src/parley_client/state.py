"""What a reader has assembled of one chat. No I/O: frames in, text out, and the cursor to go on from.

The rules are those of ``tests/cases/README.md``, which every client passes.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Literal

import msgspec

from parley.contracts import frames
from parley.contracts.assembly import default_layout, extend_layout, merge_tool
from parley.contracts.completion import Span, ToolCall, ToolDelta
from parley.contracts.resources import Chat, Message

TERMINAL = frozenset({"complete", "stopped", "failed"})
RoomFrame = frames.Snapshot | frames.MessageFrame | frames.Generation | frames.Delta | frames.ChatFrame

_DECODER: msgspec.json.Decoder[frames.ServerFrame] = msgspec.json.Decoder(frames.ServerFrame)


def decode(data: str | bytes) -> frames.ServerFrame | None:
    """Decode a frame; None for one of a type that is not known."""
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError:
        return None


class Outcome(Enum):
    """What a frame did."""

    APPLIED = "applied"
    IGNORED = "ignored"
    """Late, there already, or of another chat."""
    GAP = "gap"
    """Something is missing before it: watch again with the cursor."""


class Generation:
    """The running answer as assembled so far.

    Attributes:
        tool_calls: The calls of tools in it.
        layout: The order of text, reasoning and calls.
    """

    def __init__(
        self,
        *,
        generation_id: str,
        message_id: str,
        attempt: int,
        status: Literal["requested", "running", "retrying"],
        seq: int = 0,
        text: str = "",
        reasoning: str = "",
    ) -> None:
        self.generation_id = generation_id
        self.message_id = message_id
        self.attempt = attempt
        self.status = status
        self.seq = seq
        self.retry_at: datetime | None = None
        # A long answer has thousands of pieces: joined when asked for, not each time one comes.
        self._pieces: dict[frames.Kind, list[str]] = {"text": [text], "reasoning": [reasoning]}
        self.tool_calls: list[ToolCall] = []
        self.layout: list[Span] = []

    @property
    def text(self) -> str:
        return self._joined("text")

    @property
    def reasoning(self) -> str:
        return self._joined("reasoning")

    def append(self, kind: frames.Kind, text: str) -> None:
        self._pieces[kind].append(text)
        extend_layout(self.layout, kind, len(text))

    def use_tool(self, tool: ToolDelta) -> None:
        if merge_tool(self.tool_calls, tool):
            extend_layout(self.layout, "tool")

    def replace_calls(self, calls: list[ToolCall], layout: list[Span]) -> None:
        self.tool_calls = list(calls)
        self.layout = list(layout) or default_layout(self.text, self.reasoning, calls)

    def _joined(self, kind: frames.Kind) -> str:
        pieces = self._pieces[kind]
        if len(pieces) > 1:
            pieces[:] = ["".join(pieces)]
        return pieces[0]


class ChatState:
    """Everything a reader has assembled of one chat.

    Attributes:
        version: The newest version seen.
        chat: Null before the first snapshot, and when it was deleted.
        deleted: Whether the chat was deleted, or the reader removed from it.
        next: Where older messages go on; null at the beginning of the chat.
        generation: The running answer; null when none runs.
    """

    def __init__(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self.version = 0
        self.chat: Chat | None = None
        self.deleted = False
        self.next: str | None = None
        self.generation: Generation | None = None
        self._messages: dict[str, Message] = {}
        self._synced = False  # a snapshot has come, and nothing since has made the cursor worthless
        self._settled = 0  # the version up to which every frame has certainly come
        self._ended: str | None = None  # the generation that ended last: what still comes of it is late

    @property
    def messages(self) -> list[Message]:
        """By creation, then id; those that were taken back (``deleted``) among them."""
        return sorted(self._messages.values(), key=lambda message: (message.created_at, message.id))

    def message(self, message_id: str) -> Message | None:
        return self._messages.get(message_id)

    def answers_to(self, prompt_id: str) -> list[Message]:
        """The answers to a prompt, oldest first."""
        return [message for message in self.messages if message.parent_id == prompt_id and message.role == "assistant"]

    @property
    def cursor(self) -> frames.Cursor | None:
        """What to watch with; null when everything is needed.

        One change can be several frames of one version, and a socket may end between two of them: so the cursor
        claims only the version before the newest.
        """
        if not self._synced:
            return None
        if self.generation is None:
            return frames.Cursor(version=self._settled)
        return frames.Cursor(
            version=self._settled,
            generation_id=self.generation.generation_id,
            attempt=self.generation.attempt,
            seq=self.generation.seq,
        )

    def merge(self, frame: frames.ServerFrame) -> Outcome:
        """Merge one frame."""
        if not isinstance(frame, RoomFrame) or frame.chat_id != self.chat_id:
            return Outcome.IGNORED
        if isinstance(frame, frames.Snapshot):
            return self._merge_snapshot(frame)
        if not self._synced:
            return Outcome.IGNORED
        match frame:
            case frames.Delta():
                return self._merge_delta(frame)
            case frames.Generation():
                return self._merge_generation(frame)
            case frames.MessageFrame():
                return self._merge_message(frame)
            case frames.ChatFrame():
                return self._merge_chat(frame)

    # --- one frame each ----------------------------------------------------------------------------------------------

    def _merge_snapshot(self, frame: frames.Snapshot) -> Outcome:
        if not frame.recovered:
            self._messages = {}
            self.next = frame.next
        for message in frame.messages:
            self._put(message)
        before = self.generation
        if frame.generation is None or self._is_over(frame.generation.message_id):
            self.generation = None
            if before is not None:
                self._ended = before.generation_id
        elif not self._resume(frame.generation):
            self._synced = False
            return Outcome.GAP
        self._synced = True
        self.deleted = False
        self.version = self._settled = frame.version
        self.chat = frame.chat
        return Outcome.APPLIED

    def _resume(self, theirs: frames.RunningAnswer) -> bool:
        """Join the running answer of a snapshot to what is there; false when it does not fit."""
        mine = self.generation
        if theirs.after == 0:
            self.generation = Generation(
                generation_id=theirs.generation_id,
                message_id=theirs.message_id,
                attempt=theirs.attempt,
                status=theirs.status,
                seq=theirs.seq,
                text=theirs.text,
                reasoning=theirs.reasoning,
            )
            self.generation.replace_calls(theirs.tool_calls, theirs.layout)
            return True
        if mine is None or (mine.generation_id, mine.attempt, mine.seq) != (
            theirs.generation_id,
            theirs.attempt,
            theirs.after,
        ):
            return False
        mine.append("text", theirs.text)
        mine.append("reasoning", theirs.reasoning)
        if theirs.seq > theirs.after:
            mine.replace_calls(theirs.tool_calls, theirs.layout)
        mine.seq = theirs.seq
        mine.status = theirs.status
        if theirs.status != "retrying":
            mine.retry_at = None
        return True

    def _merge_delta(self, frame: frames.Delta) -> Outcome:
        mine = self.generation
        if mine is None or mine.generation_id != frame.generation_id:
            return Outcome.IGNORED if frame.generation_id == self._ended else Outcome.GAP
        if frame.attempt < mine.attempt:
            return Outcome.IGNORED
        if frame.attempt > mine.attempt:
            return Outcome.GAP
        if frame.to <= mine.seq:
            return Outcome.IGNORED
        if frame.from_ != mine.seq + 1:
            return Outcome.GAP
        if frame.tool is None:
            mine.append(frame.kind, frame.text)
        else:
            mine.use_tool(frame.tool)
        mine.seq = frame.to
        mine.status = "running"
        mine.retry_at = None
        return Outcome.APPLIED

    def _merge_generation(self, frame: frames.Generation) -> Outcome:
        if frame.generation_id == self._ended or self._is_over(frame.message_id):
            return Outcome.IGNORED
        mine = self.generation
        if mine is not None and mine.generation_id == frame.generation_id and frame.attempt < mine.attempt:
            return Outcome.IGNORED
        if mine is None or (mine.generation_id, mine.attempt) != (frame.generation_id, frame.attempt):
            mine = Generation(
                generation_id=frame.generation_id, message_id=frame.message_id, attempt=frame.attempt, status="running"
            )
        mine.status = "retrying" if frame.status == "retrying" else "running"
        mine.retry_at = frame.retry_at if frame.status == "retrying" else None
        self.generation = mine
        return Outcome.APPLIED

    def _merge_message(self, frame: frames.MessageFrame) -> Outcome:
        if not self._put(frame.message):
            return Outcome.IGNORED
        self._advance(frame.version)
        mine = self.generation
        if mine is not None and mine.message_id == frame.message.id and frame.message.status in TERMINAL:
            self._ended = mine.generation_id
            self.generation = None
        return Outcome.APPLIED

    def _merge_chat(self, frame: frames.ChatFrame) -> Outcome:
        if frame.chat is None:
            self._synced = False
            self.deleted = True
            self.chat = self.generation = None
            return Outcome.APPLIED
        if self.chat is not None and frame.chat.version < self.chat.version:
            return Outcome.IGNORED
        self._advance(frame.version)
        self.chat = frame.chat
        return Outcome.APPLIED

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _advance(self, version: int) -> None:
        """Raise the version; what came before the newest version is settled."""
        if version > self.version:
            self._settled, self.version = self.version, version

    def _put(self, message: Message) -> bool:
        """Add or replace a message unless one as new is there already."""
        known = self._messages.get(message.id)
        if known is not None and known.version >= message.version:
            return False
        self._messages[message.id] = message
        return True

    def _is_over(self, message_id: str) -> bool:
        message = self._messages.get(message_id)
        return message is not None and message.status in TERMINAL
