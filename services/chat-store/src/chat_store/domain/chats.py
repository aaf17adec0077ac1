"""Rules for the chat itself and its members."""

import msgspec

from chat_store.domain.conversation import Conversation
from chat_store.domain.records import MemberRecord
from chat_store.errors import Forbidden, Invalid, NoSuchMessage, TooMany
from parley.contracts import limits
from parley.contracts.rpc import UpdateChat
from parley.contracts.text import storable


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
        name: storable(value) if isinstance(value, str) else value
        for name in ("title", "model", "system_prompt", "tip_id")
        if (value := getattr(request, name)) is not msgspec.UNSET and value != getattr(conversation.chat, name)
    }
    if wanted:
        conversation.change_chat(**wanted)


def put_member(conversation: Conversation, member_id: str) -> MemberRecord:
    """Raises: TooMany: the chat has as many members as it may."""
    existing = conversation.members.get(member_id)
    if existing is not None:
        return existing
    if conversation.member_count >= limits.MAX_MEMBERS:
        raise TooMany(f"A chat has at most {limits.MAX_MEMBERS} members.")
    member = MemberRecord(chat_id=conversation.chat.id, user_id=member_id, role="writer", added_at=conversation.now)
    conversation.members[member_id] = member
    conversation.members_added.append(member)
    conversation.member_count += 1
    conversation.change_chat()
    return member


def remove_member(conversation: Conversation, user_id: str, member_id: str) -> None:
    """By the owner, or by the member who leaves.

    Raises:
        Forbidden: the owner cannot be removed, and only the owner removes others.
    """
    if member_id != user_id:
        conversation.require_owner(user_id)
    member = conversation.members.get(member_id)
    if member is None:
        return
    if member.role == "owner":
        raise Forbidden("The owner cannot leave the chat; it can be deleted.")
    del conversation.members[member_id]
    conversation.members_removed.append(member_id)
    conversation.member_count -= 1
    conversation.change_chat()


def delete(conversation: Conversation) -> None:
    """Remove the chat with all that is in it; a running answer is stopped, late events for it change nothing."""
    conversation.change_chat()
    conversation.deleted = True
    if conversation.active is not None:
        conversation.stop_signal = conversation.active.id
        conversation.deleted_user = conversation.active.user_id
        conversation.active = None
