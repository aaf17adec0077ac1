"""Rules for generations: claim, release, finish, stop, request again."""

from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from chat_store.domain import answers
from chat_store.domain.conversation import Conversation
from chat_store.domain.limits import NO_LIMITS
from chat_store.domain.records import GenerationRecord, MessageRecord, UsageRecord
from chat_store.errors import NoSuchMessage
from parley.contracts import limits
from parley.contracts.access.models import ModelCatalog
from parley.contracts.completion import ToolCall
from parley.contracts.events import GenerationFinished
from parley.contracts.resources import MessageError
from parley.contracts.text import storable, storable_json

MAX_REQUESTS: Final = 5
"""How often an answer is requested before it ends as failed: each request has ``max_deliver`` deliveries."""

NO_WORKER: Final = MessageError(
    code="attempts_exhausted", message="No worker could bring this answer to an end. Try again.", retryable=True
)

Verdict = Literal["stream", "stop_requested", "exhausted"]


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A claim that was granted."""

    generation: GenerationRecord
    answer: MessageRecord
    verdict: Verdict


def claim(conversation: Conversation, generation_id: str, *, claim_id: str, worker_id: str) -> Claimed | None:
    """Assign the generation to a worker as its next attempt. The same claim again returns the same attempt.

    Returns:
        None when the generation has ended or never existed.
    """
    active = conversation.active_generation(generation_id)
    if active is None or conversation.answer is None:
        return None
    if active.claim_id != claim_id:
        active = conversation.put_generation(
            replace(
                active,
                status="running",
                attempt=active.attempt + 1,
                claim_id=claim_id,
                worker_id=worker_id,
                claimed_at=conversation.now,
            ),
            listed=False,
        )
        conversation.answer = conversation.put_message(
            replace(conversation.answer, status="streaming", attempt=active.attempt), listed=False
        )
    return Claimed(generation=active, answer=conversation.answer, verdict=_verdict(active))


def release(conversation: Conversation, generation_id: str, attempt: int) -> None:
    """Release the generation for another worker; the attempt does not count as used."""
    active = conversation.active_generation(generation_id)
    if active is None or conversation.answer is None or active.status != "running" or active.attempt != attempt:
        return
    conversation.put_generation(
        replace(active, status="requested", released=active.released + 1, claim_id=None, worker_id=None),
        listed=False,
    )
    conversation.answer = conversation.put_message(replace(conversation.answer, status="pending"), listed=False)


def finish(conversation: Conversation, event: GenerationFinished, *, catalog: ModelCatalog = NO_LIMITS.catalog) -> bool:
    """End the generation with its worker's outcome, book its tokens, and start the next queued prompt.

    Args:
        catalog: The prices.

    Returns:
        False when it had ended before, or when a later attempt has taken over (the fencing token is ``attempt``).
    """
    active = conversation.active_generation(event.generation_id)
    if active is None or active.status != "running" or active.attempt != event.attempt:
        return False
    answers.end(
        conversation,
        event.outcome,
        content=storable(event.text),
        reasoning=storable(event.reasoning),
        model=event.model,
        finish_reason=event.finish_reason,
        error=event.error,
        tool_calls=storable_json(event.tool_calls, list[ToolCall]),
        layout=event.layout,
    )
    if event.usage is not None and conversation.answer is not None:
        conversation.answer = conversation.put_message(replace(conversation.answer, usage=event.usage))
        model = conversation.answer.model or "unknown"
        entry = catalog.get(model)
        price = None if entry is None else entry.price
        used = event.usage
        conversation.usage.append(
            UsageRecord(
                generation_id=active.id,
                chat_id=conversation.chat.id,
                user_id=active.user_id,
                model=model,
                input_tokens=used.input_tokens,
                output_tokens=used.output_tokens,
                created_at=conversation.now,
                estimated=used.estimated,
                cost=None if price is None else price.of(used.input_tokens, used.output_tokens),
            )
        )
    answers.start_next(conversation)
    return True


def stop(conversation: Conversation, message_id: str | None = None) -> None:
    """Stop the active generation: at once when no worker has claimed it, else by a signal to its worker.

    Args:
        message_id: Stop only the answer of this id, or the first answer to the prompt of this id, which may still
            be queued; the queued prompt may name that id for its answer. When that has ended, nothing happens.

    Raises:
        NoSuchMessage: ``message_id`` names nothing here.
    """
    if message_id is not None and not _names_active(conversation, message_id):
        return
    if conversation.active is not None and answers.stop(conversation):
        answers.start_next(conversation)


def _names_active(conversation: Conversation, message_id: str) -> bool:
    """Whether ``message_id`` names the active answer; a queued prompt that it names is ended instead."""
    target = conversation.messages.get(message_id) or conversation.queued_with_answer(message_id)
    if target is None:
        raise NoSuchMessage
    if target.status == "queued":
        conversation.queued -= 1
        answers.end_unanswered(conversation, target, "stopped")
        return False
    if conversation.answer is None or conversation.active is None:
        return False
    # A prompt's first answer has the next position; a later one was requested on its own.
    first = conversation.answer.parent_id == target.id and conversation.answer.position == target.position + 1
    return conversation.answer.id == target.id or first


def request_again(conversation: Conversation, generation_id: str, *, request: int) -> None:
    """Request the answer again, or fail it when that was done often enough.

    Args:
        request: The number of the request that had no result; after a later one, nothing happens.
    """
    active = conversation.active_generation(generation_id)
    if active is None or active.request != request:
        return
    if request >= MAX_REQUESTS:
        answers.end(conversation, "failed", error=NO_WORKER)
        answers.start_next(conversation)
        return
    conversation.request = conversation.put_generation(
        replace(active, request=request + 1, requested_at=conversation.now, request_seq=None), visible=False
    )


def _verdict(generation: GenerationRecord) -> Verdict:
    if generation.stop_requested_at is not None:
        return "stop_requested"
    if generation.attempt - generation.released > limits.MAX_ATTEMPTS:
        return "exhausted"
    return "stream"
