"""The rows of the database, as the rules use them. The fields are the columns of ``storage/migrations/``."""

from datetime import datetime
from typing import Final, Literal

import msgspec

from parley.contracts.completion import CompletionRequest, Span, ToolCall
from parley.contracts.resources import Chat, GenerationRef, Message, MessageError, MessageStatus, Role, Usage

ACTIVE: Final = ("requested", "running")

GenerationStatus = Literal["requested", "running", "complete", "stopped", "failed"]


class ChatRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A chat.

    Attributes:
        version: Raised by each change that a reader can see.
        revision: Raised by every change.
        last_position: The last number given to one of its messages.
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
    revision: int
    last_position: int

    def resource(self, *, running: bool) -> Chat:
        return Chat(
            id=self.id,
            owner_id=self.owner_id,
            title=self.title,
            model=self.model,
            system_prompt=self.system_prompt,
            tip_id=self.tip_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
            version=self.version,
            running=running,
        )


class MessageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a chat's tree.

    Attributes:
        placement: Of a queued prompt: whether ``parent_id`` is chosen, or is the chat's tip when its turn comes.
        position: Order within the chat; a queued prompt stands behind all others until its turn comes.
        traceparent: Of a prompt: the trace that its answer belongs to.
        completion: Of a prompt: what the provider is asked for in addition to its text.
        answer_id: Of a queued prompt: the id that its answer gets; None: a new one.
        attempt, tool_calls, layout: Of an answer.
    """

    chat_id: str
    id: str
    parent_id: str | None
    placement: Literal["tip", "fixed"]
    role: Literal["user", "assistant"]
    author_id: str | None
    content: str
    reasoning: str
    status: MessageStatus
    model: str | None
    finish_reason: str | None
    error: MessageError | None
    usage: Usage | None
    created_at: datetime
    version: int
    position: int
    traceparent: str | None = None
    completion: CompletionRequest | None = None
    answer_id: str | None = None
    attempt: int = 0
    tool_calls: list[ToolCall] = []
    layout: list[Span] = []

    def resource(self) -> Message:
        return msgspec.convert(self, Message, from_attributes=True)


class GenerationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The production of one answer, active or ended.

    Attributes:
        attempt: Raised by each claim; 0 before the first.
        released: Attempts that were released in a graceful shutdown.
        request: How often it was requested.
        request_seq: Stream sequence of the last request; null until that is known to be stored.
        traceparent: The trace that its requests belong to.
    """

    id: str
    chat_id: str
    message_id: str
    user_id: str
    status: GenerationStatus
    attempt: int
    released: int
    claim_id: str | None
    worker_id: str | None
    claimed_at: datetime | None
    request: int
    requested_at: datetime
    request_seq: int | None
    stop_requested_at: datetime | None
    created_at: datetime
    ended_at: datetime | None
    traceparent: str | None = None

    def reference(self) -> GenerationRef | None:
        """The active generation as readers see it; None once it has ended."""
        if self.status == "requested" or self.status == "running":
            return GenerationRef(
                generation_id=self.id, message_id=self.message_id, attempt=self.attempt, status=self.status
            )
        return None


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True):
    generation_id: str
    chat_id: str
    user_id: str
    model: str
    input_tokens: int
    output_tokens: int
    created_at: datetime
    estimated: bool = False
    cost: float | None = None


class RejectionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt that was not stored because its chat was busy, also when it is delivered again."""

    chat_id: str
    message_id: str
    user_id: str


class InvitationRecord(msgspec.Struct, frozen=True, kw_only=True):
    chat_id: str
    user_id: str
    role: Role
    invited_by: str
    created_at: datetime


class MemberRecord(msgspec.Struct, frozen=True, kw_only=True):
    chat_id: str
    user_id: str
    role: Role
    added_at: datetime
