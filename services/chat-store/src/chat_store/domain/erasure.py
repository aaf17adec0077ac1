"""Rules for the erasure of a user's messages in the chats of others (docs/decisions/0058)."""

from typing import Final

from msgspec.structs import replace

from chat_store.domain import generations
from chat_store.domain.conversation import Conversation
from chat_store.domain.prompts import title_from
from chat_store.domain.records import MessageRecord
from parley.contracts.resources import MessageError

ERASED: Final = MessageError(
    code="erased", message="This message was removed with the account of its author.", retryable=False
)


def leave(conversation: Conversation, user_id: str) -> None:
    """End the membership, and delete the user's queued prompts, which the command names."""
    if user_id in conversation.members:
        conversation.remove_member(user_id)
    for message in list(conversation.messages.values()):
        if message.status == "queued" and message.author_id == user_id:
            conversation.queued -= 1
            conversation.put_message(replace(emptied(message), status="deleted"))


def empty(conversation: Conversation) -> bool:
    """Empty the messages that the command names: prompts of the user, and the answers to them.

    Returns:
        False when one of them is the running answer; that is stopped, and nothing is emptied yet.
    """
    if conversation.active is not None and conversation.active.message_id in conversation.messages:
        generations.stop(conversation)
        return False
    prompts = [message for message in conversation.messages.values() if message.role == "user"]
    if conversation.chat.title in {title_from(prompt.content) for prompt in prompts} - {None}:
        conversation.change_chat(title=None)
    for message in list(conversation.messages.values()):
        conversation.put_message(replace(emptied(message), error=ERASED))
    return True


def emptied(message: MessageRecord) -> MessageRecord:
    """Return the message without content and author."""
    return replace(
        message,
        author_id=None,
        content="",
        reasoning="",
        traceparent=None,
        completion=None,
        answer_id=None,
        tool_calls=[],
        layout=[],
    )
