"""Chats and messages as readers see them: in replies, in frames and in HTTP bodies alike."""

from datetime import date, datetime
from typing import Literal

import msgspec

from parley.contracts.completion import Span, ToolCall

MessageStatus = Literal[
    "queued", "sent", "deleted", "rejected", "pending", "streaming", "complete", "stopped", "failed"
]
Role = Literal["owner", "writer", "reader"]


class ChatSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of chats shows of one."""

    id: str
    title: str | None
    updated_at: datetime
    version: int
    running: bool


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """A chat.

    Attributes:
        tip_id: The message that the newest turn ended with: the end of the branch shown by default.
        version: Raised by one with each committed change to the chat or its messages.
        running: Whether an answer is requested or running.
    """

    id: str
    owner_id: str
    title: str | None
    model: str | None
    system_prompt: str | None
    tip_id: str | None
    created_at: datetime
    updated_at: datetime
    version: int
    running: bool

    def summary(self) -> ChatSummary:
        return ChatSummary(
            id=self.id, title=self.title, updated_at=self.updated_at, version=self.version, running=self.running
        )


class MessageError(msgspec.Struct, frozen=True, kw_only=True):
    """Why an answer failed: ``code`` for programs, ``message`` for people."""

    code: str
    message: str
    retryable: bool


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of an answer.

    Attributes:
        estimated: Not counted by the provider: the answer was stopped or failed before the provider reported a count.
    """

    input_tokens: int
    output_tokens: int
    estimated: bool = False


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt (``role`` user) or an answer (``role`` assistant), a node in its chat's tree.

    Attributes:
        parent_id: The message before it; null for a root, and for a queued prompt whose place is not known yet.
        status: ``rejected``: accepted, and then not stored; ``error`` has the reason. Only its author sees it, and no
            page and no snapshot contains it.
        content: Empty while an answer is pending or streaming; the running text is in the ``generation`` of a snapshot.
        finish_reason: Of an answer that the model ended: ``stop``, ``length``, ``tool_calls``, ``content_filter`` or a
            provider's own word; null where it gave none.
        version: The chat's version at this message's last change.
        attempt: Of an answer: which attempt it is, from 1; 0: none began.
        tool_calls: Of an answer that has ended: the calls of tools in it.
        layout: The order of text, reasoning and calls; empty: reasoning, text, calls.
    """

    id: str
    chat_id: str
    parent_id: str | None
    role: Literal["user", "assistant"]
    author_id: str | None
    content: str
    reasoning: str
    status: MessageStatus
    model: str | None
    error: MessageError | None
    usage: Usage | None
    created_at: datetime
    version: int
    finish_reason: str | None = None
    attempt: int = 0
    tool_calls: list[ToolCall] = []
    layout: list[Span] = []


class GenerationRef(msgspec.Struct, frozen=True, kw_only=True):
    """The chat's active generation, as stored in Postgres; its text so far is with its worker.

    Attributes:
        attempt: 0 until a worker has claimed it, then counted from 1.
    """

    generation_id: str
    message_id: str
    attempt: int
    status: Literal["requested", "running"]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a chat, or a user who is invited to it.

    Attributes:
        status: ``invited``: sees nothing of the chat until the invitation is accepted.
        name: The user's display name; null when there is none.
        added_at: When the user became a member, or was invited.
    """

    user_id: str
    role: Role
    added_at: datetime
    status: Literal["member", "invited"] = "member"
    name: str | None = None


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation to a chat, as the invited user sees it: this, and nothing else of the chat.

    Attributes:
        invited_by: The user who invites; ``invited_by_name`` is null when there is no display name.
    """

    chat_id: str
    title: str | None
    role: Role
    invited_by: str
    invited_by_name: str | None
    created_at: datetime


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a user's usage: summed by model, or by day and model.

    Attributes:
        estimated: How many of the answers the provider did not count, so that their tokens are estimated.
        cost: By the prices of ``MODELS`` at the time of each answer; null where none had a price.
        day: In UTC; absent when days are not asked for.
    """

    model: str
    answers: int
    input_tokens: int
    output_tokens: int
    estimated: int = 0
    cost: float | None = None
    day: date | msgspec.UnsetType = msgspec.UNSET
