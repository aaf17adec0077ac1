"""Requests of administrators and operators: erase a user, look up keys and usage of all users."""

from datetime import UTC, datetime

from faststream.nats import NatsRouter

from chat_store.domain import cursors
from chat_store.domain.cursors import BeforeKey, BeforeUsage
from chat_store.domain.members import NO_USER
from chat_store.errors import NotFound
from chat_store.rpc import pages
from chat_store.rpc.context import Store, page_size
from chat_store.rpc.routing import handles
from chat_store.storage.administration import audit, directory, erasure
from chat_store.storage.identity import users
from parley.contracts import rpc
from parley.contracts.access.identity import Revoked

router = NatsRouter()


@handles(router, rpc.EraseUser)
async def erase_user(request: rpc.EraseUser, store: Store) -> rpc.Done:
    async with store.database.connection() as connection, connection.transaction():
        if not await users.lock_user(connection, request.user_id):
            raise NotFound(NO_USER)
        if await erasure.request(connection, request.user_id, now=datetime.now(UTC)):
            erased = audit.event("user_erased", actor_id=request.actor_id, user_id=request.user_id)
            await audit.record(connection, erased)
    await store.publisher.revoke(Revoked(user_id=request.user_id, disabled=True))
    return rpc.Done()


@handles(router, rpc.FindApiKeys)
async def find_api_keys(request: rpc.FindApiKeys, store: Store) -> rpc.KeyOfUserList:
    before = cursors.decode(request.before, BeforeKey) or BeforeKey.first_page()
    limit = page_size(request.limit)
    async with store.database.connection() as connection:
        found = await directory.find_keys(connection, user_id=request.user_id, before=before, limit=limit + 1)
    items, following = pages.cut(found, limit, lambda last: BeforeKey(last.key.created_at, last.key.id))
    return rpc.KeyOfUserList(items=items, next=following)


@handles(router, rpc.ListUsage)
async def list_usage(request: rpc.ListUsage, store: Store) -> rpc.UsageOfUserList:
    after = cursors.decode(request.before, BeforeUsage) or BeforeUsage("", "")
    limit = page_size(request.limit)
    async with store.database.connection() as connection:
        found = await directory.list_usage(connection, request, after=after, limit=limit + 1)
    items, following = pages.cut(found, limit, lambda last: BeforeUsage(last.user_id, last.usage.model))
    return rpc.UsageOfUserList(items=items, next=following)
