"""chat-store's tables in memory: loads what the rules ask for and applies what they decide, as the repository does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from chat_store.domain import generations, members, prompts
from chat_store.domain.conversation import Changes, Conversation, State
from chat_store.domain.limits import NO_LIMITS, Limits
from chat_store.domain.records import (
    ACTIVE,
    ChatRecord,
    GenerationRecord,
    InvitationRecord,
    MemberRecord,
    MessageRecord,
    RejectionRecord,
    UsageRecord,
)
from parley.contracts.completion import prompt_bytes
from parley.contracts.events import GenerationFinished, PromptSubmitted
from parley.contracts.resources import Role, Usage

R = TypeVar("R")

START = datetime(2026, 1, 1, tzinfo=UTC)
CHAT = "00000000-0000-7000-8000-000000000000"


class Tables:
    """One chat with its owner ``ann``.

    Attributes:
        users: The users who exist.
        history: Every change that was committed.
    """

    def __init__(self, *, numbers: Iterator[int] | None = None, **fields: str | None) -> None:
        self.chat: ChatRecord | None = ChatRecord(
            id=CHAT,
            owner_id="ann",
            title=fields.get("title"),
            model=fields.get("model"),
            system_prompt=fields.get("system_prompt"),
            tip_id=None,
            created_at=START,
            updated_at=START,
            version=1,
            revision=1,
            last_position=0,
        )
        self.members = {"ann": MemberRecord(chat_id=CHAT, user_id="ann", role="owner", added_at=START)}
        self.invitations: dict[str, InvitationRecord] = {}
        self.users = ["ann", "bob", "cid"]
        self.messages: dict[str, MessageRecord] = {}
        self.generations: dict[str, GenerationRecord] = {}
        self.usage: list[UsageRecord] = []
        self.history: list[Changes] = []
        self.rejected: list[RejectionRecord] = []
        self.defers = False
        self._numbers = itertools.count(1) if numbers is None else numbers

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def active(self) -> GenerationRecord | None:
        found = [generation for generation in self.generations.values() if generation.status in ACTIVE]
        assert len(found) <= 1, "two active generations"
        return found[0] if found else None

    @property
    def queued(self) -> list[MessageRecord]:
        found = [message for message in self.messages.values() if message.status == "queued"]
        return sorted(found, key=lambda message: message.position)

    def answers_to(self, prompt_id: str) -> list[MessageRecord]:
        return [
            message
            for message in self.messages.values()
            if message.role == "assistant" and message.parent_id == prompt_id
        ]

    def prompt_of(self, generation: GenerationRecord) -> MessageRecord:
        parent_id = self.messages[generation.message_id].parent_id
        assert parent_id is not None
        return self.messages[parent_id]

    def new_id(self) -> str:
        return f"00000000-0000-7000-8000-{next(self._numbers):012d}"

    # --- changing ---------------------------------------------------------------------------------------------------

    def run(self, act: Callable[[Conversation], R]) -> R:
        """One transaction; raises what ``act`` raises, and then nothing has changed."""
        assert self.chat is not None
        active, queued = self.active, self.queued
        prompt = None if active is None else self.prompt_of(active)
        conversation = Conversation(
            State(
                chat=self.chat,
                active=active,
                answer=None if active is None else self.messages[active.message_id],
                prompt_parent_id=None if prompt is None else prompt.parent_id,
                next_queued=queued[0] if queued else None,
                queued=len(queued),
                queued_bytes=sum(prompt_bytes(message.content, message.completion) for message in queued),
                found=list(self.messages.values()),
                rejected=self.rejected,
                members=list(self.members.values()),
                invitations=list(self.invitations.values()),
                users=self.users,
                member_count=len(self.members) + len(self.invitations),
            ),
            now=START + timedelta(seconds=len(self.history)),
            new_id=self.new_id,
        )
        conversation.defers = self.defers
        result = act(conversation)
        changes = conversation.changes()
        if changes is not None:
            self._apply(changes)
        return result

    def _apply(self, changes: Changes) -> None:
        assert self.chat is not None
        assert changes.since == self.chat.version
        assert changes.chat.version - changes.since in (0, 1), "versions have no gap"
        assert changes.chat.revision == self.chat.revision + 1
        if not changes.visible:
            assert changes.chat == msgspec.structs.replace(self.chat, revision=changes.chat.revision)
        self.history.append(changes)
        if changes.deleted:
            self.chat = None
            self.messages.clear()
            self.generations.clear()
            self.members.clear()
            self.rejected.clear()
            return
        self.chat = changes.chat
        for message in changes.messages:
            assert message.version == changes.chat.version
            assert message.parent_id is None or message.parent_id in self.messages | {
                one.id: one for one in changes.messages
            }
            self.messages[message.id] = message
        for generation in changes.generations:
            self.generations[generation.id] = generation
            assert self.active is None or changes.active is not None
        self.usage.extend(changes.usage)
        self.rejected.extend(changes.rejected)
        self.members.update({member.user_id: member for member in changes.members_changed})
        for user_id in changes.members_removed:
            del self.members[user_id]
        self.invitations.update({invitation.user_id: invitation for invitation in changes.invitations_changed})
        for user_id in changes.invitations_removed:
            del self.invitations[user_id]
        if self.members:
            assert [member.user_id for member in self.members.values() if member.role == "owner"] == [
                self.chat.owner_id
            ], "one owner"
        assert self.active == changes.active
        positions = [message.position for message in self.messages.values()]
        assert len(positions) == len(set(positions)), "a position of its own for each message"

    # --- commands, as tests like to write them ------------------------------------------------------------------------

    def join(self, user_id: str, role: Role = "writer") -> None:
        """Invite a user, who accepts."""
        self.run(lambda chat: members.put(chat, "ann", user_id, role))
        self.run(lambda chat: members.accept(chat, user_id))

    def submit(
        self,
        content: str = "hello",
        *,
        message_id: str | None = None,
        user_id: str = "ann",
        parent_id: str | None | msgspec.UnsetType = msgspec.UNSET,
        traceparent: str | None = None,
        limits: Limits = NO_LIMITS,
        refused: bool = False,
        **fields: Any,
    ) -> str:
        """Submit a prompt and return its id."""
        event = PromptSubmitted(
            chat_id=CHAT,
            message_id=message_id or self.new_id(),
            user_id=user_id,
            content=content,
            parent_id=parent_id,
            occurred_at=START,
            **fields,
        )
        self.run(lambda chat: prompts.submit(chat, event, traceparent=traceparent, limits=limits, refused=refused))
        return event.message_id

    def claim(self, *, claim_id: str | None = None) -> GenerationRecord:
        """Claim the active generation."""
        active = self.active
        assert active is not None
        claimed = self.run(
            lambda conversation: generations.claim(
                conversation, active.id, claim_id=claim_id or self.new_id(), worker_id="worker"
            )
        )
        assert claimed is not None
        return claimed.generation

    def finish(self, generation: GenerationRecord, **fields: object) -> bool:
        event = finished(generation, **fields)
        return self.run(lambda chat: generations.finish(chat, event))

    def answer(self, text: str = "an answer") -> MessageRecord:
        """Claim and complete the active generation; return its answer."""
        generation = self.claim()
        assert self.finish(generation, text=text)
        return self.messages[generation.message_id]


def finished(generation: GenerationRecord, **fields: object) -> GenerationFinished:
    settings: dict[str, object] = {
        "chat_id": CHAT,
        "generation_id": generation.id,
        "message_id": generation.message_id,
        "attempt": generation.attempt,
        "outcome": "complete",
        "text": "an answer",
        "usage": Usage(input_tokens=1, output_tokens=2),
        "occurred_at": START,
    }
    return GenerationFinished(**settings | fields)  # type: ignore[arg-type]
