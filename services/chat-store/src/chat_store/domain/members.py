"""Rules for members and invitations."""

from typing import Final

from msgspec.structs import replace

from chat_store.domain.conversation import Conversation
from chat_store.domain.records import InvitationRecord, MemberRecord
from chat_store.errors import Conflict, Forbidden, Invalid, NotFound, TooMany
from parley.contracts import limits
from parley.contracts.resources import Role

NO_USER: Final = "There is no such user."
NO_INVITATION: Final = "There is no such invitation."


def put(conversation: Conversation, user_id: str, member_id: str, role: Role) -> MemberRecord | InvitationRecord:
    """Invite a user, or change the role of a member or of an invitation.

    Raises:
        Invalid: the role is the owner's.
        Forbidden: the member is the owner.
        NotFound: there is no such user.
        TooMany: the chat has as many members and invitations as it may.
    """
    conversation.require(user_id, "invite")
    if role == "owner":
        raise Invalid("A member is a writer or a reader; ownership is handed over.")
    member = conversation.members.get(member_id)
    if member is not None:
        if member.role == "owner":
            raise Forbidden("The owner's role changes only when the chat is handed over.")
        return member if member.role == role else conversation.put_member(replace(member, role=role))
    invitation = conversation.invitations.get(member_id)
    if invitation is not None:
        return invitation if invitation.role == role else conversation.put_invitation(replace(invitation, role=role))
    if member_id not in conversation.users:
        raise NotFound(NO_USER)
    if conversation.member_count >= limits.MAX_MEMBERS:
        raise TooMany(f"A chat has at most {limits.MAX_MEMBERS} members.")
    return conversation.put_invitation(
        InvitationRecord(
            chat_id=conversation.chat.id,
            user_id=member_id,
            role=role,
            invited_by=user_id,
            created_at=conversation.now,
        )
    )


def accept(conversation: Conversation, user_id: str) -> MemberRecord:
    """Make an invited user a member. Repeated: no effect.

    Raises:
        NotFound: the user is not invited, or there is no such chat.
    """
    member = conversation.members.get(user_id)
    if member is not None:
        return member
    invitation = conversation.remove_invitation(user_id)
    if invitation is None:
        raise NotFound(NO_INVITATION)
    return conversation.put_member(
        MemberRecord(chat_id=conversation.chat.id, user_id=user_id, role=invitation.role, added_at=conversation.now)
    )


def hand_over(conversation: Conversation, user_id: str, member_id: str) -> None:
    """Make a member the owner; the owner before becomes a writer.

    Raises:
        Conflict: the user is not a member.
    """
    owner = conversation.members.get(user_id)
    conversation.require(user_id, "hand_over")
    member = conversation.members.get(member_id)
    if owner is None or member is None:
        raise Conflict("Only a member can become the owner. Invite the user first.")
    if member.role == "owner":
        return
    conversation.put_member(replace(owner, role="writer"))
    conversation.put_member(replace(member, role="owner"))
    conversation.change_chat(owner_id=member_id)


def remove(conversation: Conversation, user_id: str, member_id: str) -> None:
    """Remove a member or an invitation: by the owner, or by the member who leaves.

    Raises:
        Forbidden: the owner cannot be removed, and only the owner removes others.
    """
    conversation.require(user_id, "read" if member_id == user_id else "invite")
    member = conversation.members.get(member_id)
    if member is None:
        conversation.remove_invitation(member_id)
    elif member.role == "owner":
        raise Forbidden("The owner cannot leave the chat; it can be handed over or deleted.")
    else:
        conversation.remove_member(member_id)
