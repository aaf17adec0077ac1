"""Rules for prompts: submit, regenerate, delete while queued."""

from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from chat_store.domain import answers
from chat_store.domain.conversation import Conversation
from chat_store.domain.limits import NO_LIMITS, Limits, error_of_call, has_room, queue_full
from chat_store.domain.records import MessageRecord
from chat_store.errors import Conflict, Forbidden, NoSuchMessage, NotFound
from parley.contracts.access import policy
from parley.contracts.completion import CompletionRequest, prompt_bytes
from parley.contracts.events import PromptSubmitted
from parley.contracts.text import storable, storable_json

QUEUE_BASE: Final = 1 << 40
"""The middle of the positions of queued prompts, which follow all other messages: above it in the order of their
arrival, below it those with precedence, the latest first."""

TITLE_LENGTH: Final = 80
"""Characters of a title that is made from the first prompt."""

Submitted = Literal[
    "started",
    "queued",
    "duplicate",
    "not_a_member",
    "read_only",
    "id_taken",
    "too_many_prompts",
    "empty",
    "chat_busy",
]


def submit(
    conversation: Conversation,
    prompt: PromptSubmitted,
    *,
    traceparent: str | None = None,
    limits: Limits = NO_LIMITS,
    refused: bool = False,
) -> Submitted:
    """Add a user's message. It is answered at once, or by ``when_busy`` if the chat is busy (docs/decisions/0068).

    A parent that does not exist, or is queued itself, counts as "continue at the tip": the message was accepted, so it
    is stored. The same message again is a duplicate; another one with an id that is taken is not.

    Args:
        refused: Its author has sent as many as allowed; it is not stored.
    """
    existing = conversation.messages.get(prompt.message_id)
    if existing is not None:
        return "duplicate" if _is_same(existing, prompt) else "id_taken"
    if conversation.is_rejected(prompt.message_id, prompt.user_id):
        return "chat_busy"
    role = conversation.role_of(prompt.user_id)
    if not policy.may_in_chat(role, "write"):
        return "not_a_member" if role is None else "read_only"
    if prompt.answer_id == prompt.message_id or prompt.answer_id in conversation.messages:
        return "id_taken"
    if refused:
        return "too_many_prompts"
    message = _message_of(conversation, prompt, traceparent)
    if not message.content and not (message.completion and (message.completion.context or message.completion.parts)):
        return "empty"
    if conversation.busy and prompt.when_busy == "reject":
        conversation.reject(prompt.message_id, prompt.user_id)
        return "chat_busy"
    conversation.change_chat(title=conversation.chat.title or title_from(message.content))
    if conversation.busy and prompt.when_busy in ("interrupt", "rollback"):
        return _interrupt(conversation, message, limits, rolls_back=prompt.when_busy == "rollback")
    if not conversation.busy and not conversation.defers:
        answers.start(conversation, message)
        return "started"
    _enqueue(conversation, message, limits)
    return "queued"


def _message_of(conversation: Conversation, prompt: PromptSubmitted, traceparent: str | None) -> MessageRecord:
    placement, parent_id = _place(conversation, prompt.parent_id)
    return MessageRecord(
        chat_id=conversation.chat.id,
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
        version=conversation.since,
        position=0,
        traceparent=traceparent,
        completion=_storable(prompt.completion),
        answer_id=prompt.answer_id,
    )


def _interrupt(
    conversation: Conversation, message: MessageRecord, limits: Limits, *, rolls_back: bool
) -> Literal["started", "queued"]:
    """Stop the active answer, and have the prompt answered next.

    Args:
        rolls_back: The prompt takes the place of the one whose answer is active.
    """
    active = conversation.active
    if active is not None and rolls_back:
        message = replace(message, placement="fixed", parent_id=conversation.parent_of_running)
    if active is not None and active.status == "requested" and not conversation.defers:
        answers.stop(conversation)
        answers.start(conversation, message)
        return "started"
    if _enqueue(conversation, message, limits, first=True) and active is not None:
        answers.stop(conversation)
        if conversation.active is None:
            conversation.waiting = message.author_id
    return "queued"


def _enqueue(conversation: Conversation, message: MessageRecord, limits: Limits, *, first: bool = False) -> bool:
    """Queue the prompt behind the others, or before them; return whether the queue had room for it."""
    size = prompt_bytes(message.content, message.completion)
    if not has_room(limits, prompts=conversation.queued, size=conversation.queued_bytes, new=size):
        answers.end_unanswered(conversation, message, "failed", error_of_call(queue_full()))
        return False
    if conversation.active is None and (first or conversation.queued == 0):
        conversation.waiting = message.author_id
    conversation.queued += 1
    conversation.queued_bytes += size
    number = conversation.next_position()
    queued = conversation.put_message(replace(message, position=QUEUE_BASE - number if first else QUEUE_BASE + number))
    if first:
        conversation.next_queued = queued
    return True


def _storable(completion: CompletionRequest | None) -> CompletionRequest | None:
    return None if completion is None else storable_json(completion, CompletionRequest)


def _place(
    conversation: Conversation, parent_id: str | None | msgspec.UnsetType
) -> tuple[Literal["tip", "fixed"], str | None]:
    if isinstance(parent_id, msgspec.UnsetType):
        return "tip", None
    if parent_id is None:
        return "fixed", None
    parent = conversation.messages.get(parent_id)
    if parent is None or parent.status in ("queued", "deleted"):
        return "tip", None
    return "fixed", parent_id


def regenerate(
    conversation: Conversation,
    user_id: str,
    message_id: str,
    *,
    answer_id: str,
    model: str | None,
    traceparent: str | None = None,
) -> MessageRecord:
    """Request another answer: a sibling of an answer that ended, or a first or further one to a prompt.

    Raises:
        NotFound: no such message.
        Conflict: an answer is active in this chat, or the prompt is queued.
    """
    existing = conversation.messages.get(answer_id)
    if existing is not None:
        if existing.role != "assistant":
            raise Conflict("That answer_id is the id of a prompt.")
        return existing
    target = conversation.messages.get(message_id)
    if target is None or target.status == "deleted":
        raise NoSuchMessage
    if target.status == "queued":
        raise Conflict("The message waits for its turn.")
    if conversation.active is not None:
        raise Conflict("An answer is running in this chat. Stop it, or wait until it ends.")
    prompt_id = target.parent_id if target.role == "assistant" else target.id
    if prompt_id is None:
        raise NotFound("The answer has no prompt.")
    return answers.request_answer(
        conversation,
        prompt_id,
        answer_id=answer_id,
        user_id=user_id,
        model=model or conversation.chat.model or target.model,
        traceparent=traceparent,
    )


def delete_queued(conversation: Conversation, user_id: str, message_id: str) -> None:
    """Delete a queued prompt, by its author or by the owner. A tombstone stays, for readers that had it.

    Raises:
        Forbidden: it is somebody else's.
        NotFound: no such message.
        Conflict: it has started.
    """
    target = conversation.messages.get(message_id)
    role = conversation.require(user_id, "write")
    if target is None:
        raise NoSuchMessage
    if not policy.may_delete_prompt(role, user_id, target.author_id):
        raise Forbidden("Only its author or the chat's owner may delete a message.")
    if target.status == "deleted":
        return
    if target.status != "queued":
        raise Conflict("Only a message that waits for its turn can be deleted.")
    conversation.queued -= 1
    conversation.put_message(replace(target, status="deleted", content="", completion=None, answer_id=None))


def _is_same(existing: MessageRecord, prompt: PromptSubmitted) -> bool:
    """Whether ``existing`` is this prompt, as stored before; a deleted one has lost its content."""
    return existing.author_id == prompt.user_id and (
        existing.status == "deleted"
        or (existing.content == storable(prompt.content) and existing.completion == _storable(prompt.completion))
    )


def title_from(content: str) -> str | None:
    """Return the first line that is not blank, cut between words where possible."""
    line = next((stripped for line in content.splitlines() if (stripped := " ".join(line.split()))), None)
    if line is None or len(line) <= TITLE_LENGTH:
        return line
    cut = line[: TITLE_LENGTH - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > TITLE_LENGTH // 2 else cut) + "…"
