"""Rules for the chat itself."""

import msgspec

from chat_store.domain.conversation import Conversation
from chat_store.errors import Invalid, NoSuchMessage
from parley.contracts.rpc import UpdateChat


def update(conversation: Conversation, request: UpdateChat) -> None:
    """Change title, model, system prompt or branch; absent fields stay.

    Raises:
        NoSuchMessage: the tip is no message of this chat.
        Invalid: it is none that a branch can end with.
    """
    if request.tip_id is not msgspec.UNSET:
        tip = conversation.messages.get(request.tip_id)
        if tip is None:
            raise NoSuchMessage
        if tip.status in ("queued", "deleted"):
            raise Invalid("The tip must be a message of this chat.")
    wanted = {
        name: value
        for name in ("title", "model", "system_prompt", "tip_id")
        if (value := getattr(request, name)) is not msgspec.UNSET and value != getattr(conversation.chat, name)
    }
    if wanted:
        conversation.change_chat(**wanted)


def delete(conversation: Conversation) -> None:
    """Remove the chat with all that is in it; a running answer is stopped, late events for it change nothing."""
    conversation.change_chat()
    conversation.deleted = True
    if conversation.active is not None:
        conversation.stop_signal = conversation.active.id
        conversation.deleted_user = conversation.active.user_id
        conversation.active = None
