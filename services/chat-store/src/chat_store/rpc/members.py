"""Requests about the members of a chat."""

from faststream.nats import NatsRouter

from chat_store.domain import chats as rules
from chat_store.domain.conversation import Conversation
from chat_store.domain.records import MemberRecord
from chat_store.errors import Invalid, NotFound
from chat_store.rpc.context import NO_CHAT, Store, check_ids
from chat_store.rpc.routing import handles
from chat_store.storage import members
from parley.contracts import rpc
from parley.contracts.resources import Member

router = NatsRouter()


@handles(router, rpc.ListMembers)
async def list_members(request: rpc.ListMembers, store: Store) -> rpc.MemberList:
    check_ids(request.chat_id)
    async with store.database.connection() as connection:
        found = await members.list_members(connection, request.chat_id)
    if all(member.user_id != request.user_id for member in found):
        raise NotFound(NO_CHAT)
    return rpc.MemberList(items=[_resource(member) for member in found])


@handles(router, rpc.PutMember)
async def put_member(request: rpc.PutMember, store: Store) -> rpc.MemberReply:
    def run(conversation: Conversation) -> rpc.MemberReply:
        conversation.require_owner(request.user_id)
        return rpc.MemberReply(member=_resource(rules.put_member(conversation, request.member_id)))

    check_ids(request.chat_id)
    if not request.member_id or "\x00" in request.member_id:
        raise Invalid("A member needs an id.")
    return await store.change(request.chat_id, run, users=[request.user_id, request.member_id])


@handles(router, rpc.DeleteMember)
async def delete_member(request: rpc.DeleteMember, store: Store) -> rpc.Done:
    def run(conversation: Conversation) -> rpc.Done:
        conversation.require_member(request.user_id)
        rules.remove_member(conversation, request.user_id, request.member_id)
        return rpc.Done()

    check_ids(request.chat_id)
    return await store.change(request.chat_id, run, users=[request.user_id, request.member_id])


def _resource(member: MemberRecord) -> Member:
    return Member(user_id=member.user_id, role=member.role, added_at=member.added_at)
