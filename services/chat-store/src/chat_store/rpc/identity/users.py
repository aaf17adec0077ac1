"""Requests about users."""

from faststream.nats import NatsRouter

from chat_store.domain import cursors
from chat_store.domain.cursors import BeforeUser
from chat_store.domain.members import NO_USER
from chat_store.errors import NotFound
from chat_store.rpc import pages
from chat_store.rpc.context import Store, page_size
from chat_store.rpc.routing import handles
from chat_store.storage.administration import audit
from chat_store.storage.identity import users
from parley.contracts.access import identity
from parley.contracts.access.audit import AuditEvent, AuditKind

router = NatsRouter()


@handles(router, identity.GetUser)
async def get_user(request: identity.GetUser, store: Store) -> identity.UserReply:
    async with store.database.connection() as connection:
        user = await users.get_user(connection, request.user_id)
    if user is None:
        raise NotFound(NO_USER)
    return identity.UserReply(user=user)


@handles(router, identity.ListUsers)
async def list_users(request: identity.ListUsers, store: Store) -> identity.UserList:
    before = cursors.decode(request.before, BeforeUser) or BeforeUser.first_page()
    limit = page_size(request.limit)
    async with store.database.connection() as connection:
        found = await users.list_users(connection, query=request.query, before=before, limit=limit + 1)
    items, following = pages.cut(found, limit, lambda last: BeforeUser(last.created_at, last.id))
    return identity.UserList(items=items, next=following)


@handles(router, identity.UpdateUser)
async def update_user(request: identity.UpdateUser, store: Store) -> identity.UserReply:
    async with store.database.connection() as connection, connection.transaction():
        await users.lock_user(connection, request.user_id)
        before = await users.get_user(connection, request.user_id)
        user = await users.update_user(connection, request.user_id, disabled=request.disabled, role=request.role)
        if before is not None and user is not None:
            await audit.record(connection, *_audited(before, user, request.actor_id))
    if before is None or user is None:
        raise NotFound(NO_USER)
    if before != user:
        # Of one who is enabled or has another role, what is cached is read again, and nothing is closed.
        await store.publisher.revoke(identity.Revoked(user_id=user.id, disabled=user.disabled, closes=user.disabled))
    return identity.UserReply(user=user)


def _audited(before: identity.User, user: identity.User, actor_id: str | None) -> list[AuditEvent]:
    events = []
    if user.disabled != before.disabled:
        kind: AuditKind = "user_disabled" if user.disabled else "user_enabled"
        events.append(audit.event(kind, actor_id=actor_id, user_id=user.id))
    if user.role != before.role:
        events.append(audit.event("role_changed", actor_id=actor_id, user_id=user.id, role=user.role))
    return events
