"""Durable events: facts, in past tense, each published once to a stream with its ``id`` as ``Nats-Msg-Id``.

A consumer ignores fields that it does not know. An event that does not decode, or whose ``v`` is newer than the
consumer knows, goes to the dead letters.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec

from parley.contracts.completion import CompletionRequest, Span, ToolCall, WhenBusy
from parley.contracts.resources import MessageError, Usage

VERSION: Final = 1


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    chat_id: str
    occurred_at: datetime
    v: int = VERSION

    @property
    def id(self) -> str:
        """The event's own id: the same fact published again has the same one."""
        raise NotImplementedError


class PromptSubmitted(_Event, frozen=True, kw_only=True, tag="prompt.submitted"):
    """A user sent a message. The gateway has checked that the user may write to the chat.

    Attributes:
        message_id: Made by the client; unique within the chat. The same one again is the same message.
        parent_id: Absent: continue at the chat's tip. Null: a new root. An id: answer to that message.
        answer_id: The id of the first answer; null: chat-store makes one.
        completion: What the provider is asked for in addition to the text; null: nothing.
    """

    message_id: str
    user_id: str
    content: str
    parent_id: str | None | msgspec.UnsetType = msgspec.UNSET
    model: str | None = None
    answer_id: str | None = None
    completion: CompletionRequest | None = None
    when_busy: WhenBusy = "enqueue"

    @property
    def id(self) -> str:
        return f"{self.chat_id}:{self.message_id}"


class GenerationRequested(_Event, frozen=True, kw_only=True, tag="generation.requested"):
    """An answer was requested. Ids only: a claim returns the context.

    Attributes:
        request: 1 for the first request, raised when the generation has to be requested again.
    """

    generation_id: str
    message_id: str
    request: int

    @property
    def id(self) -> str:
        return f"{self.generation_id}:{self.request}"


class GenerationSegment(_Event, frozen=True, kw_only=True, tag="generation.segment"):
    """About one second of a running answer. ``from``–``to`` number the model's chunks, as in a delta.

    Attributes:
        tool_calls: All calls of the attempt so far, as they were at ``to``; empty: as in the segment before.
        layout: The order of text, reasoning and calls in the attempt so far; empty: reasoning, text, calls.
    """

    generation_id: str
    attempt: int
    from_: int = msgspec.field(name="from")
    to: int
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = []
    layout: list[Span] = []

    @property
    def id(self) -> str:
        return f"{self.generation_id}:{self.attempt}:{self.from_}"


class GenerationFinished(_Event, frozen=True, kw_only=True, tag="generation.finished"):
    """An answer ended. The first one of the current attempt counts; any other is ignored.

    Attributes:
        outcome: ``failed`` has an ``error``; ``stopped`` and ``failed`` keep the partial text.
        finish_reason: The model's own word (``stop``, ``length``, …), if it gave one.
        layout: The order of text, reasoning and calls; empty: reasoning, text, calls.
    """

    generation_id: str
    message_id: str
    attempt: int
    outcome: Literal["complete", "stopped", "failed"]
    text: str
    reasoning: str = ""
    model: str | None = None
    usage: Usage | None = None
    error: MessageError | None = None
    finish_reason: str | None = None
    tool_calls: list[ToolCall] = []
    layout: list[Span] = []

    @property
    def id(self) -> str:
        return f"{self.generation_id}:{self.attempt}:finished"


Event = PromptSubmitted | GenerationRequested | GenerationSegment | GenerationFinished
