"""Requests about the members of a chat."""

from typing import ClassVar

from parley.contracts.requests import Done, ReplyBase, StoreRequest
from parley.contracts.resources import Invitation, Member, Role
from parley.contracts.rpc.chats import ChatReply


class MemberReply(ReplyBase, frozen=True, kw_only=True, tag="member"):
    member: Member


class MemberList(ReplyBase, frozen=True, kw_only=True, tag="member_list"):
    items: list[Member]


class ListMembers(StoreRequest[MemberList], frozen=True, kw_only=True):
    """List the members of a chat; to its owner, also who is invited."""

    VERB: ClassVar = "list_members"
    user_id: str
    chat_id: str


class PutMember(StoreRequest[MemberReply], frozen=True, kw_only=True):
    """Invite a user, or change the role of a member or of an invitation; owner only.

    ``not_found``: there is no such user, or the user is disabled.

    Attributes:
        role: ``writer`` or ``reader``; a chat gets another owner by :class:`HandOver`.
    """

    VERB: ClassVar = "put_member"
    user_id: str
    chat_id: str
    member_id: str
    role: Role = "writer"


class HandOver(StoreRequest[ChatReply], frozen=True, kw_only=True):
    """Make a member the owner; owner only, who becomes a writer. ``conflict``: the user is no member."""

    VERB: ClassVar = "hand_over"
    user_id: str
    chat_id: str
    member_id: str


class InvitationList(ReplyBase, frozen=True, kw_only=True, tag="invitation_list"):
    items: list[Invitation]


class ListInvitations(StoreRequest[InvitationList], frozen=True, kw_only=True):
    """List the invitations of a user, newest first."""

    VERB: ClassVar = "list_invitations"
    user_id: str


class AcceptInvitation(StoreRequest[MemberReply], frozen=True, kw_only=True):
    """Become a member; again, nothing happens. Without an invitation, ``not_found``, whether or not the chat exists."""

    VERB: ClassVar = "accept_invitation"
    user_id: str
    chat_id: str


class DeclineInvitation(StoreRequest[Done], frozen=True, kw_only=True):
    """Decline an invitation. Without one, Done whether or not the chat exists."""

    VERB: ClassVar = "decline_invitation"
    user_id: str
    chat_id: str


class DeleteMember(StoreRequest[Done], frozen=True, kw_only=True):
    """Remove a member or withdraw an invitation: by the owner, or by the member. The owner cannot be removed."""

    VERB: ClassVar = "delete_member"
    user_id: str
    chat_id: str
    member_id: str
