"""Requests about the members of a chat."""

from typing import ClassVar

from parley.contracts.requests import Done, ReplyBase, StoreRequest
from parley.contracts.resources import Member


class MemberReply(ReplyBase, frozen=True, kw_only=True, tag="member"):
    member: Member


class MemberList(ReplyBase, frozen=True, kw_only=True, tag="member_list"):
    items: list[Member]


class ListMembers(StoreRequest[MemberList], frozen=True, kw_only=True):
    """List the members of a chat."""

    VERB: ClassVar = "list_members"
    user_id: str
    chat_id: str


class PutMember(StoreRequest[MemberReply], frozen=True, kw_only=True):
    """Add a member; owner only."""

    VERB: ClassVar = "put_member"
    user_id: str
    chat_id: str
    member_id: str


class DeleteMember(StoreRequest[Done], frozen=True, kw_only=True):
    """Remove a member: by the owner, or by the member itself. The owner cannot be removed."""

    VERB: ClassVar = "delete_member"
    user_id: str
    chat_id: str
    member_id: str
