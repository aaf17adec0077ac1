"""The life of one answer within a conversation: requested, ended, and the next queued prompt started."""

from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from chat_store.domain.conversation import Conversation
from chat_store.domain.records import GenerationRecord, MessageRecord
from parley.contracts.completion import Span, ToolCall
from parley.contracts.resources import MessageError


def request_answer(
    conversation: Conversation,
    prompt_id: str,
    *,
    answer_id: str,
    user_id: str,
    model: str | None,
    traceparent: str | None,
) -> MessageRecord:
    """Create an empty answer to a prompt, and the generation that fills it."""
    if conversation.active is not None:
        raise AssertionError("a second active generation")
    answer = conversation.put_message(_new_answer(conversation, prompt_id, answer_id=answer_id, model=model))
    generation = GenerationRecord(
        id=conversation.new_id(),
        chat_id=conversation.chat.id,
        message_id=answer.id,
        user_id=user_id,
        status="requested",
        attempt=0,
        released=0,
        claim_id=None,
        worker_id=None,
        claimed_at=None,
        request=1,
        requested_at=conversation.now,
        request_seq=None,
        stop_requested_at=None,
        created_at=conversation.now,
        ended_at=None,
        traceparent=traceparent,
    )
    conversation.request = conversation.put_generation(generation)
    conversation.answer = answer
    conversation.change_chat(tip_id=answer.id)
    return answer


def _id_of_answer(conversation: Conversation, prompt: MessageRecord) -> str:
    """Return the id that the prompt names for its answer, unless it was taken meanwhile."""
    if prompt.answer_id is None or prompt.answer_id in conversation.messages:
        return conversation.new_id()
    return prompt.answer_id


def _new_answer(conversation: Conversation, prompt_id: str, *, answer_id: str, model: str | None) -> MessageRecord:
    return MessageRecord(
        chat_id=conversation.chat.id,
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
        created_at=conversation.now,
        version=conversation.since,
        position=conversation.next_position(),
    )


def _place_in_tree(conversation: Conversation, prompt: MessageRecord) -> None:
    parent_id = conversation.chat.tip_id if prompt.placement == "tip" else prompt.parent_id
    position = conversation.next_position()
    conversation.put_message(replace(prompt, status="sent", parent_id=parent_id, position=position, answer_id=None))


def start(conversation: Conversation, prompt: MessageRecord) -> None:
    """Place the prompt in the tree and request its answer."""
    _place_in_tree(conversation, prompt)
    request_answer(
        conversation,
        prompt.id,
        answer_id=_id_of_answer(conversation, prompt),
        user_id=prompt.author_id or conversation.chat.owner_id,
        model=prompt.model or conversation.chat.model,
        traceparent=prompt.traceparent,
    )


def end_unanswered(
    conversation: Conversation,
    prompt: MessageRecord,
    status: Literal["stopped", "failed"],
    error: MessageError | None = None,
) -> None:
    """Place a prompt in the tree with an answer that ended before its generation. It can be regenerated."""
    _place_in_tree(conversation, prompt)
    answer_id = _id_of_answer(conversation, prompt)
    answer = _new_answer(conversation, prompt.id, answer_id=answer_id, model=prompt.model)
    conversation.put_message(replace(answer, status=status, error=error))


def end(
    conversation: Conversation,
    status: Literal["complete", "stopped", "failed"],
    *,
    content: str = "",
    reasoning: str = "",
    model: str | None = None,
    finish_reason: str | None = None,
    error: MessageError | None = None,
    tool_calls: Sequence[ToolCall] = (),
    layout: Sequence[Span] = (),
) -> None:
    """End the active generation and its answer."""
    if conversation.active is None or conversation.answer is None:
        raise AssertionError("nothing to end")
    conversation.answer = conversation.put_message(
        replace(
            conversation.answer,
            status=status,
            content=content,
            reasoning=reasoning,
            model=model or conversation.answer.model,
            finish_reason=finish_reason,
            error=error,
            attempt=conversation.active.attempt,
            tool_calls=list(tool_calls),
            layout=list(layout),
        )
    )
    conversation.put_generation(replace(conversation.active, status=status, ended_at=conversation.now))
    conversation.active = None


def stop(conversation: Conversation) -> bool:
    """Stop the active generation: at once when no worker has claimed it, else by a signal to its worker.

    Returns:
        Whether it has ended.
    """
    active = conversation.active
    if active is None:
        raise AssertionError("nothing to stop")
    if active.status == "requested":
        end(conversation, "stopped")
        return True
    if active.stop_requested_at is None:
        conversation.put_generation(replace(active, stop_requested_at=conversation.now), visible=False)
    conversation.stop_signal = active.id
    return False


def start_next(conversation: Conversation) -> None:
    """Start the next queued prompt, if there is one; where starts are deferred, record its user."""
    if conversation.queued == 0:
        return
    if conversation.next_queued is None:
        raise AssertionError("the queue's head was not loaded")
    if conversation.defers:
        conversation.waiting = conversation.next_queued.author_id or conversation.chat.owner_id
        return
    prompt, conversation.next_queued = conversation.next_queued, None
    conversation.queued -= 1
    start(conversation, prompt)
