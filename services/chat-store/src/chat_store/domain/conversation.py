"""What may happen next to a chat: its rules, without input or output.

A :class:`Conversation` is loaded with the part of a chat that a command needs, the command is called, and
:meth:`Conversation.changes` says what to persist and what to publish. What always holds:

- at most one generation of a chat is active; while prompts are queued, one is;
- prompts are answered one at a time, first in, first out;
- the same message, claim or end again changes nothing; an end of an older attempt changes nothing;
- the version goes up by one with each change that a reader can see.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from chat_store.domain.records import ACTIVE, ChatRecord, GenerationRecord, MemberRecord, MessageRecord, UsageRecord
from chat_store.errors import Conflict, Forbidden, Invalid, NoSuchMessage, NotFound, TooMany
from parley.contracts import ids, limits
from parley.contracts.events import GenerationFinished, PromptSubmitted
from parley.contracts.resources import MessageError, Role
from parley.contracts.rpc import UpdateChat
from parley.contracts.text import storable

QUEUE_BASE: Final = 1 << 40
"""Positions of queued prompts start here, so that they stand behind all others."""

TITLE_LENGTH: Final = 80
"""Characters of a title that is made from the first prompt."""

Submitted = Literal["started", "queued", "duplicate", "not_a_member", "id_taken"]
Verdict = Literal["stream", "stop_requested", "exhausted"]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a chat that a command needs.

    Attributes:
        active: Its active generation, and ``answer``, the message which that fills.
        next_queued: The first queued prompt; only loaded for commands that may end a generation.
        queued: How many prompts are queued.
        found: The messages that the command names, as far as they exist.
        members: The members that the command names, as far as they are.
        member_count: Loaded with ``members``.
    """

    chat: ChatRecord
    active: GenerationRecord | None = None
    answer: MessageRecord | None = None
    next_queued: MessageRecord | None = None
    queued: int = 0
    found: list[MessageRecord] = []
    members: list[MemberRecord] = []
    member_count: int = 0


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a chat's commands came to.

    Attributes:
        since: The chat's version before; ``chat.version`` is one higher when a reader can see the change, else equal.
        messages: Added or changed, whole, in the order of the changes.
        generations: Added or changed, whole; ended ones first, or the one that follows would be a second active one.
        active: The active generation afterwards.
        request: The generation that must be requested.
        stop: The generation whose worker must be told to stop.
        deleted: The chat is gone, and all the rest with it.
        listed: Whether a list of chats shows the change: all that readers can see, but for attempts at an answer.
        members: Who could read the chat before the change; known once it is written.
    """

    since: int
    chat: ChatRecord
    messages: list[MessageRecord]
    generations: list[GenerationRecord]
    usage: list[UsageRecord]
    members_added: list[MemberRecord]
    members_removed: list[str]
    active: GenerationRecord | None
    request: GenerationRecord | None
    stop: str | None
    deleted: bool = False
    listed: bool = True
    members: list[str] = []

    @property
    def visible(self) -> bool:
        """Whether a reader can see the change."""
        return self.chat.version != self.since


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's claim was granted."""

    generation: GenerationRecord
    answer: MessageRecord
    verdict: Verdict


class Conversation:
    """One chat, while it is being changed. Made for one transaction, in which at most one generation may end.

    Args:
        state: What was loaded, all of it at one moment.
        now: The time of the transaction.
        new_id: Makes ids of answers and generations.
    """

    def __init__(self, state: State, *, now: datetime, new_id: Callable[[], str] = ids.new_id) -> None:
        self._chat = state.chat
        self._since = state.chat.version
        self._active = state.active
        self._answer = state.answer
        self._next_queued = state.next_queued
        self._queued = state.queued
        self._messages = {message.id: message for message in state.found}
        self._members = {member.user_id: member for member in state.members}
        self._member_count = state.member_count
        self._now = now
        self._new_id = new_id
        self._visible = False
        self._listed = False
        self._changed: dict[str, MessageRecord] = {}
        self._generations: dict[str, GenerationRecord] = {}
        self._usage: list[UsageRecord] = []
        self._members_added: list[MemberRecord] = []
        self._members_removed: list[str] = []
        self._request: GenerationRecord | None = None
        self._stop: str | None = None
        self._deleted = False

    # --- asking -----------------------------------------------------------------------------------------------------

    @property
    def chat(self) -> ChatRecord:
        return self._chat

    @property
    def running(self) -> bool:
        return self._active is not None

    @property
    def active(self) -> GenerationRecord | None:
        return self._active

    def role_of(self, user_id: str) -> Role | None:
        member = self._members.get(user_id)
        return None if member is None else member.role

    def require_member(self, user_id: str) -> Role:
        """Raises: NotFound: the chat is not this user's."""
        role = self.role_of(user_id)
        if role is None:
            raise NotFound("There is no such chat.")
        return role

    def require_owner(self, user_id: str) -> None:
        """Raises: NotFound: the chat is not this user's. Forbidden: only the owner may do this."""
        if self.require_member(user_id) != "owner":
            raise Forbidden("Only the chat's owner may do this.")

    def changes(self) -> Changes | None:
        """What to persist and publish; None when nothing changed."""
        touched = self._visible or self._generations or self._request is not None or self._stop is not None
        if not touched:
            return None
        return Changes(
            since=self._since,
            chat=replace(self._chat, revision=self._chat.revision + 1),
            messages=list(self._changed.values()),
            generations=sorted(self._generations.values(), key=lambda generation: generation.status in ACTIVE),
            usage=self._usage,
            members_added=self._members_added,
            members_removed=self._members_removed,
            active=self._active,
            request=self._request,
            stop=self._stop,
            deleted=self._deleted,
            listed=self._listed,
        )

    # --- prompts ----------------------------------------------------------------------------------------------------

    def submit(self, prompt: PromptSubmitted, *, traceparent: str | None = None) -> Submitted:
        """Add a user's message: answered at once, or queued behind the running answer.

        A parent that does not exist (or waits in the queue itself) is taken as "continue at the tip": the message was
        accepted, so it is kept. The same message again is a duplicate; another one with an id that is taken is not.
        """
        existing = self._messages.get(prompt.message_id)
        if existing is not None:
            return "duplicate" if _is_same(existing, prompt) else "id_taken"
        if self.role_of(prompt.user_id) is None:
            return "not_a_member"
        placement, parent_id = self._place(prompt.parent_id)
        message = MessageRecord(
            chat_id=self._chat.id,
            id=prompt.message_id,
            parent_id=parent_id,
            placement=placement,
            role="user",
            author_id=prompt.user_id,
            content=storable(prompt.content),
            reasoning="",
            status="queued",
            model=prompt.model,
            finish_reason=None,
            error=None,
            usage=None,
            created_at=prompt.occurred_at,
            version=self._since,
            position=0,
            traceparent=traceparent,
        )
        self._change_chat(title=self._chat.title or title_from(message.content))
        if self._active is None:
            self._start(message)
            return "started"
        if self._queued >= limits.MAX_QUEUED_PROMPTS:
            self._refuse(message)
            return "queued"
        self._queued += 1
        self._put(replace(message, position=QUEUE_BASE + self._next_position()))
        return "queued"

    def _place(self, parent_id: str | None | msgspec.UnsetType) -> tuple[Literal["tip", "fixed"], str | None]:
        if isinstance(parent_id, msgspec.UnsetType):
            return "tip", None
        if parent_id is None:
            return "fixed", None
        parent = self._messages.get(parent_id)
        if parent is None or parent.status in ("queued", "deleted"):
            return "tip", None
        return "fixed", parent_id

    def _start(self, prompt: MessageRecord) -> None:
        """Give the prompt its place in the tree and ask for its answer."""
        sent = replace(
            prompt,
            status="sent",
            parent_id=self._chat.tip_id if prompt.placement == "tip" else prompt.parent_id,
            position=self._next_position(),
        )
        self._put(sent)
        self._request_answer(
            sent.id,
            answer_id=self._new_id(),
            user_id=sent.author_id or self._chat.owner_id,
            model=sent.model or self._chat.model,
            traceparent=sent.traceparent,
        )

    def _refuse(self, prompt: MessageRecord) -> None:
        """Keep a prompt for which the queue has no room, with an answer that says so."""
        error = MessageError(
            code="queue_full",
            message=f"{limits.MAX_QUEUED_PROMPTS} messages already wait in this chat. Try again later.",
            retryable=True,
        )
        self._end_unanswered(prompt, "failed", error)

    def _end_unanswered(
        self, prompt: MessageRecord, status: Literal["stopped", "failed"], error: MessageError | None = None
    ) -> None:
        """Give a prompt its place in the tree with an answer that ended before it began. It can be regenerated."""
        parent_id = self._chat.tip_id if prompt.placement == "tip" else prompt.parent_id
        self._put(replace(prompt, status="sent", parent_id=parent_id, position=self._next_position()))
        answer = self._new_answer(prompt.id, answer_id=self._new_id(), model=prompt.model)
        self._put(replace(answer, status=status, error=error))

    def _request_answer(
        self, prompt_id: str, *, answer_id: str, user_id: str, model: str | None, traceparent: str | None
    ) -> MessageRecord:
        if self._active is not None:
            raise AssertionError("a second active generation")
        answer = self._put(self._new_answer(prompt_id, answer_id=answer_id, model=model))
        generation = GenerationRecord(
            id=self._new_id(),
            chat_id=self._chat.id,
            message_id=answer.id,
            user_id=user_id,
            status="requested",
            attempt=0,
            released=0,
            claim_id=None,
            worker_id=None,
            claimed_at=None,
            request=1,
            requested_at=self._now,
            request_seq=None,
            stop_requested_at=None,
            created_at=self._now,
            ended_at=None,
            traceparent=traceparent,
        )
        self._active = self._generations[generation.id] = generation
        self._answer = answer
        self._request = generation
        self._change_chat(tip_id=answer.id)
        return answer

    def _new_answer(self, prompt_id: str, *, answer_id: str, model: str | None) -> MessageRecord:
        return MessageRecord(
            chat_id=self._chat.id,
            id=answer_id,
            parent_id=prompt_id,
            placement="fixed",
            role="assistant",
            author_id=None,
            content="",
            reasoning="",
            status="pending",
            model=model,
            finish_reason=None,
            error=None,
            usage=None,
            created_at=self._now,
            version=self._since,
            position=self._next_position(),
        )

    def regenerate(
        self, user_id: str, message_id: str, *, answer_id: str, model: str | None, traceparent: str | None = None
    ) -> MessageRecord:
        """Ask for another answer: a sibling of an answer that ended, or a first or further one to a prompt.

        Raises:
            NotFound: no such message.
            Conflict: an answer is active in this chat, or the prompt waits for its turn.
        """
        existing = self._messages.get(answer_id)
        if existing is not None:
            if existing.role != "assistant":
                raise Conflict("That answer_id is the id of a prompt.")
            return existing
        target = self._messages.get(message_id)
        if target is None or target.status == "deleted":
            raise NoSuchMessage
        if target.status == "queued":
            raise Conflict("The message waits for its turn.")
        if self._active is not None:
            raise Conflict("An answer is running in this chat. Stop it, or wait until it ends.")
        prompt_id = target.parent_id if target.role == "assistant" else target.id
        if prompt_id is None:
            raise NotFound("The answer has no prompt.")
        return self._request_answer(
            prompt_id,
            answer_id=answer_id,
            user_id=user_id,
            model=model or self._chat.model or target.model,
            traceparent=traceparent,
        )

    def delete_queued(self, message_id: str) -> None:
        """Take a queued prompt back; a tombstone stays, so that readers learn of it.

        Raises:
            NotFound: no such message.
            Conflict: it has started.
        """
        target = self._messages.get(message_id)
        if target is None:
            raise NoSuchMessage
        if target.status == "deleted":
            return
        if target.status != "queued":
            raise Conflict("Only a message that waits for its turn can be deleted.")
        self._queued -= 1
        self._put(replace(target, status="deleted", content=""))

    # --- generations ------------------------------------------------------------------------------------------------

    def claim(self, generation_id: str, *, claim_id: str, worker_id: str) -> Claimed | None:
        """Give the generation to a worker as its next attempt. The same claim again gets the same answer.

        Returns:
            None when it is over, or never was.
        """
        active = self._active_one(generation_id)
        if active is None or self._answer is None:
            return None
        if active.claim_id != claim_id:
            active = self._put_generation(
                replace(
                    active,
                    status="running",
                    attempt=active.attempt + 1,
                    claim_id=claim_id,
                    worker_id=worker_id,
                    claimed_at=self._now,
                ),
                listed=False,
            )
            self._answer = self._put(replace(self._answer, status="streaming"), listed=False)
        return Claimed(generation=active, answer=self._answer, verdict=_verdict(active))

    def release(self, generation_id: str, attempt: int) -> None:
        """Take a generation back from the worker that hands it back in good order: the attempt does not count."""
        active = self._active_one(generation_id)
        if active is None or self._answer is None or active.status != "running" or active.attempt != attempt:
            return
        self._put_generation(
            replace(active, status="requested", released=active.released + 1, claim_id=None, worker_id=None),
            listed=False,
        )
        self._answer = self._put(replace(self._answer, status="pending"), listed=False)

    def finish(self, event: GenerationFinished) -> bool:
        """End the generation as its worker says, and start the next queued prompt.

        Returns:
            False when it had ended before, or when the worker was replaced by a later attempt.
        """
        active = self._active_one(event.generation_id)
        if active is None or active.status != "running" or active.attempt != event.attempt:
            return False
        self._end(
            event.outcome,
            content=storable(event.text),
            reasoning=storable(event.reasoning),
            model=event.model,
            finish_reason=event.finish_reason,
            error=event.error,
        )
        if event.usage is not None and self._answer is not None:
            self._answer = self._put(replace(self._answer, usage=event.usage))
            self._usage.append(
                UsageRecord(
                    generation_id=active.id,
                    chat_id=self._chat.id,
                    user_id=active.user_id,
                    model=self._answer.model or "unknown",
                    input_tokens=event.usage.input_tokens,
                    output_tokens=event.usage.output_tokens,
                    created_at=self._now,
                )
            )
        self._go_on()
        return True

    def stop(self, message_id: str | None = None) -> None:
        """Stop the active generation: at once when no worker has it, else its worker is told to.

        Args:
            message_id: Stop only the answer of this id, or the first answer to the prompt of this id, which may still
                be queued. When that has ended, nothing happens.

        Raises:
            NoSuchMessage: ``message_id`` names nothing here.
        """
        if message_id is not None and not self._names_active(message_id):
            return
        active = self._active
        if active is None:
            return
        if active.status == "requested":
            self._end("stopped")
            self._go_on()
            return
        if active.stop_requested_at is None:
            self._put_generation(replace(active, stop_requested_at=self._now), visible=False)
        self._stop = active.id

    def _names_active(self, message_id: str) -> bool:
        """Whether ``message_id`` names the active answer; a queued prompt that it names is ended instead."""
        target = self._messages.get(message_id)
        if target is None:
            raise NoSuchMessage
        if target.status == "queued":
            self._queued -= 1
            self._end_unanswered(target, "stopped")
            return False
        if self._answer is None or self._active is None:
            return False
        # A prompt's first answer stands right behind it; a later one was asked for on its own.
        first = self._answer.parent_id == target.id and self._answer.position == target.position + 1
        return self._answer.id == target.id or first

    def give_up(self, generation_id: str, error: MessageError) -> None:
        """End a generation that no worker brings to an end."""
        if self._active_one(generation_id) is not None:
            self._end("failed", error=error)
            self._go_on()

    def request_again(self, generation_id: str, *, request: int) -> None:
        """Ask for the answer once more, unless somebody already has: ``request`` is the one that led nowhere."""
        active = self._active_one(generation_id)
        if active is None or active.request != request:
            return
        self._request = self._put_generation(
            replace(active, request=request + 1, requested_at=self._now, request_seq=None), visible=False
        )

    def _active_one(self, generation_id: str) -> GenerationRecord | None:
        active = self._active
        return active if active is not None and active.id == generation_id else None

    def _end(
        self,
        status: Literal["complete", "stopped", "failed"],
        *,
        content: str = "",
        reasoning: str = "",
        model: str | None = None,
        finish_reason: str | None = None,
        error: MessageError | None = None,
    ) -> None:
        if self._active is None or self._answer is None:
            raise AssertionError("nothing to end")
        self._answer = self._put(
            replace(
                self._answer,
                status=status,
                content=content,
                reasoning=reasoning,
                model=model or self._answer.model,
                finish_reason=finish_reason,
                error=error,
            )
        )
        self._put_generation(replace(self._active, status=status, ended_at=self._now))
        self._active = None

    def _go_on(self) -> None:
        """Start the next queued prompt, if there is one."""
        if self._queued == 0:
            return
        if self._next_queued is None:
            raise AssertionError("the queue's head was not loaded")
        prompt, self._next_queued = self._next_queued, None
        self._queued -= 1
        self._start(prompt)

    # --- the chat itself --------------------------------------------------------------------------------------------

    def update(self, request: UpdateChat) -> None:
        """Change title, model, system prompt or branch; absent fields stay.

        Raises:
            NoSuchMessage: the tip is no message of this chat.
            Invalid: it is none that a branch can end with.
        """
        if request.tip_id is not msgspec.UNSET:
            tip = self._messages.get(request.tip_id)
            if tip is None:
                raise NoSuchMessage
            if tip.status in ("queued", "deleted"):
                raise Invalid("The tip must be a message of this chat.")
        wanted = {
            name: storable(value) if isinstance(value, str) else value
            for name in ("title", "model", "system_prompt", "tip_id")
            if (value := getattr(request, name)) is not msgspec.UNSET and value != getattr(self._chat, name)
        }
        if wanted:
            self._change_chat(**wanted)

    def put_member(self, member_id: str) -> MemberRecord:
        """Raises: TooMany: the chat has as many members as it may."""
        existing = self._members.get(member_id)
        if existing is not None:
            return existing
        if self._member_count >= limits.MAX_MEMBERS:
            raise TooMany(f"A chat has at most {limits.MAX_MEMBERS} members.")
        member = MemberRecord(chat_id=self._chat.id, user_id=member_id, role="member", added_at=self._now)
        self._members[member_id] = member
        self._members_added.append(member)
        self._member_count += 1
        self._change_chat()
        return member

    def remove_member(self, user_id: str, member_id: str) -> None:
        """By the owner, or by the member who leaves.

        Raises:
            Forbidden: the owner cannot be removed, and only the owner removes others.
        """
        if member_id != user_id:
            self.require_owner(user_id)
        member = self._members.get(member_id)
        if member is None:
            return
        if member.role == "owner":
            raise Forbidden("The owner cannot leave the chat; it can be deleted.")
        del self._members[member_id]
        self._members_removed.append(member_id)
        self._member_count -= 1
        self._change_chat()

    def delete(self) -> None:
        """Remove the chat with all that is in it; a running answer is stopped, late events for it change nothing."""
        self._change_chat()
        self._deleted = True
        if self._active is not None:
            self._stop = self._active.id
            self._active = None

    # --- recording --------------------------------------------------------------------------------------------------

    def _touch(self, *, listed: bool = True) -> None:
        self._listed = self._listed or listed
        if not self._visible:
            self._visible = True
            self._chat = replace(self._chat, version=self._since + 1, updated_at=self._now)

    def _change_chat(self, **fields: str | None) -> None:
        self._touch()
        self._chat = replace(self._chat, **fields)

    def _put(self, message: MessageRecord, *, listed: bool = True) -> MessageRecord:
        self._touch(listed=listed)
        message = replace(message, version=self._chat.version)
        self._messages[message.id] = self._changed[message.id] = message
        return message

    def _put_generation(
        self, generation: GenerationRecord, *, visible: bool = True, listed: bool = True
    ) -> GenerationRecord:
        if visible:
            self._touch(listed=listed)
        self._generations[generation.id] = generation
        self._active = generation
        return generation

    def _next_position(self) -> int:
        self._touch()
        self._chat = replace(self._chat, last_position=self._chat.last_position + 1)
        return self._chat.last_position


def _is_same(existing: MessageRecord, prompt: PromptSubmitted) -> bool:
    """Whether ``existing`` is this prompt, as stored before; of one that was taken back, the content is gone."""
    return existing.author_id == prompt.user_id and (
        existing.status == "deleted" or existing.content == storable(prompt.content)
    )


def _verdict(generation: GenerationRecord) -> Verdict:
    if generation.stop_requested_at is not None:
        return "stop_requested"
    if generation.attempt - generation.released > limits.MAX_ATTEMPTS:
        return "exhausted"
    return "stream"


def title_from(content: str) -> str | None:
    """The first line that says something, cut at a word where that is near."""
    line = next((stripped for line in content.splitlines() if (stripped := " ".join(line.split()))), None)
    if line is None or len(line) <= TITLE_LENGTH:
        return line
    cut = line[: TITLE_LENGTH - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > TITLE_LENGTH // 2 else cut) + "…"
