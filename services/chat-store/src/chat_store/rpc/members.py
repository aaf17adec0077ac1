"""Requests about the members of a chat, and about invitations."""

from faststream.nats import NatsRouter

from chat_store.domain import members as rules
from chat_store.domain.conversation import Conversation, check_role
from chat_store.domain.records import InvitationRecord, MemberRecord
from chat_store.errors import NotFound
from chat_store.rpc.context import Store, check_ids
from chat_store.rpc.routing import handles
from chat_store.storage import members
from chat_store.storage.administration import audit
from chat_store.storage.identity import users
from parley.contracts import limits, rpc
from parley.contracts.access import policy
from parley.contracts.access.audit import AuditEvent, AuditKind
from parley.contracts.resources import Member, Role

router = NatsRouter()


@handles(router, rpc.ListMembers)
async def list_members(request: rpc.ListMembers, store: Store) -> rpc.MemberList:
    check_ids(request.chat_id)
    async with store.database.connection() as connection:
        found = await members.list_members(connection, request.chat_id)
    roles = {member.user_id: member.role for member in found if member.status == "member"}
    role = check_role(roles.get(request.user_id), "read")
    if not policy.may_in_chat(role, "invite"):
        found = [member for member in found if member.status == "member"]
    return rpc.MemberList(items=found)


@handles(router, rpc.PutMember)
async def put_member(request: rpc.PutMember, store: Store) -> rpc.MemberReply:
    def audited(stored: MemberRecord | InvitationRecord) -> AuditEvent:
        kind: AuditKind = "member_invited" if isinstance(stored, InvitationRecord) else "role_changed"
        return _audited(kind, request, request.member_id, role=stored.role)

    check_ids(request.chat_id)
    stored = await store.change(
        request.chat_id,
        lambda conversation: rules.put(conversation, request.user_id, request.member_id, request.role),
        users=[request.user_id, request.member_id],
        audited=audited,
    )
    return rpc.MemberReply(member=await _resource(store, stored))


@handles(router, rpc.DeleteMember)
async def delete_member(request: rpc.DeleteMember, store: Store) -> rpc.Done:
    def run(conversation: Conversation) -> rpc.Done:
        rules.remove(conversation, request.user_id, request.member_id)
        return rpc.Done()

    check_ids(request.chat_id)
    return await store.change(
        request.chat_id,
        run,
        users=[request.user_id, request.member_id],
        audited=lambda _: _audited("member_removed", request, request.member_id),
    )


@handles(router, rpc.HandOver)
async def hand_over(request: rpc.HandOver, store: Store) -> rpc.ChatReply:
    def run(conversation: Conversation) -> rpc.ChatReply:
        rules.hand_over(conversation, request.user_id, request.member_id)
        return rpc.ChatReply(chat=conversation.chat.resource(running=conversation.running))

    check_ids(request.chat_id)
    return await store.change(
        request.chat_id,
        run,
        users=[request.user_id, request.member_id],
        within=lambda connection: store.quotas.handing_over(connection, request),
        audited=lambda _: _audited("owner_changed", request, request.member_id, role="owner"),
    )


@handles(router, rpc.ListInvitations)
async def list_invitations(request: rpc.ListInvitations, store: Store) -> rpc.InvitationList:
    async with store.database.connection() as connection:
        items = await members.list_invitations(connection, request.user_id, limit=limits.MAX_PAGE)
    return rpc.InvitationList(items=items)


@handles(router, rpc.AcceptInvitation)
async def accept_invitation(request: rpc.AcceptInvitation, store: Store) -> rpc.MemberReply:
    check_ids(request.chat_id)
    try:
        member = await store.change(
            request.chat_id,
            lambda conversation: rules.accept(conversation, request.user_id),
            users=[request.user_id],
            audited=lambda member: _audited("member_accepted", request, request.user_id, role=member.role),
        )
    except NotFound as missing:
        raise NotFound(rules.NO_INVITATION) from missing
    return rpc.MemberReply(member=await _resource(store, member))


@handles(router, rpc.DeclineInvitation)
async def decline_invitation(request: rpc.DeclineInvitation, store: Store) -> rpc.Done:
    def run(conversation: Conversation) -> rpc.Done:
        conversation.remove_invitation(request.user_id)
        return rpc.Done()

    check_ids(request.chat_id)
    try:
        return await store.change(
            request.chat_id,
            run,
            users=[request.user_id],
            audited=lambda _: _audited("member_removed", request, request.user_id),
        )
    except NotFound:
        return rpc.Done()


def _audited(
    kind: AuditKind,
    request: rpc.PutMember | rpc.DeleteMember | rpc.HandOver | rpc.AcceptInvitation | rpc.DeclineInvitation,
    member_id: str,
    *,
    role: Role | None = None,
) -> AuditEvent:
    return audit.event(kind, actor_id=request.user_id, user_id=member_id, chat_id=request.chat_id, role=role)


async def _resource(store: Store, stored: MemberRecord | InvitationRecord) -> Member:
    async with store.database.connection() as connection:
        user = await users.get_user(connection, stored.user_id)
    invited = isinstance(stored, InvitationRecord)
    return Member(
        user_id=stored.user_id,
        role=stored.role,
        added_at=stored.created_at if isinstance(stored, InvitationRecord) else stored.added_at,
        status="invited" if invited else "member",
        name=None if user is None else user.name,
    )
