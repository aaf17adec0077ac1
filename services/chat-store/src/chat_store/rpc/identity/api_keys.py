"""Requests about API keys."""

import hmac
from datetime import UTC, datetime
from typing import Final

from faststream.nats import NatsRouter

from chat_store.domain.members import NO_USER
from chat_store.errors import Conflict, Invalid, NotFound
from chat_store.rpc.context import Store
from chat_store.rpc.identity.sessions import require_enabled
from chat_store.rpc.routing import handles
from chat_store.storage.administration import audit
from chat_store.storage.identity import api_keys, users
from chat_store.storage.identity.api_keys import MAX_KEYS
from chat_store.storage.identity.users import EXTEND_AFTER
from parley.contracts import ids
from parley.contracts.access import identity
from parley.contracts.access.audit import AuditEvent, AuditKind
from parley.contracts.requests import Done

NO_KEY: Final = "There is no such API key."

router = NatsRouter()


@handles(router, identity.ResolveApiKey)
async def resolve_api_key(request: identity.ResolveApiKey, store: Store) -> identity.PrincipalReply:
    now = datetime.now(UTC)
    async with store.database.connection() as connection:
        stored = await api_keys.get_key(connection, request.prefix, now=now)
        if stored is None or not hmac.compare_digest(stored.secret_digest.encode(), request.secret_digest.encode()):
            raise NotFound(NO_KEY)
        require_enabled(stored.user)
        key = stored.key
        if key.last_used_at is None or now - key.last_used_at >= EXTEND_AFTER:
            await api_keys.use_key(connection, key.id, now=now)
            await users.see(connection, stored.user.id, now=now)
    return identity.PrincipalReply(
        principal=identity.Principal(user=stored.user, key_id=key.id, scopes=key.scopes, expires_at=key.expires_at)
    )


@handles(router, identity.CreateApiKey)
async def create_api_key(request: identity.CreateApiKey, store: Store) -> identity.ApiKeyReply:
    if not ids.is_id(request.key_id):
        raise Invalid("A key's id is a UUID in lower case.")
    async with store.database.connection() as connection, connection.transaction():
        await users.lock_user(connection, request.user_id)
        user = await users.get_user(connection, request.user_id)
        if user is None:
            raise NotFound(NO_USER)
        # A gateway may not know yet that the user is disabled; of one who was erased, nothing may come back.
        require_enabled(user)
        existing = await api_keys.list_keys(connection, request.user_id)
        if len(existing) >= MAX_KEYS and all(key.id != request.key_id for key in existing):
            raise Conflict(f"A user has at most {MAX_KEYS} API keys. Revoke one first.")
        if await api_keys.add_key(connection, request, now=datetime.now(UTC)):
            await audit.record(connection, _audited("key_created", request.user_id, request.key_id, request.actor_id))
        stored = await api_keys.list_keys(connection, request.user_id)
    for key in stored:
        if (key.id, key.prefix) == (request.key_id, request.prefix):
            return identity.ApiKeyReply(key=key)
    raise Conflict("This key's id or prefix has been used.")


@handles(router, identity.ListApiKeys)
async def list_api_keys(request: identity.ListApiKeys, store: Store) -> identity.ApiKeyList:
    async with store.database.connection() as connection:
        return identity.ApiKeyList(items=await api_keys.list_keys(connection, request.user_id))


@handles(router, identity.RevokeApiKey)
async def revoke_api_key(request: identity.RevokeApiKey, store: Store) -> Done:
    if not ids.is_id(request.key_id):
        return Done()
    async with store.database.connection() as connection, connection.transaction():
        owner = await api_keys.revoke_key(connection, request.user_id, request.key_id)
        if owner is not None:
            await audit.record(connection, _audited("key_revoked", owner, request.key_id, request.actor_id))
    if owner is not None:
        await store.publisher.revoke(identity.Revoked(user_id=owner, key_id=request.key_id))
    return Done()


def _audited(kind: AuditKind, user_id: str, key_id: str, actor_id: str | None) -> AuditEvent:
    return audit.event(kind, actor_id=actor_id or user_id, user_id=user_id, key_id=key_id)
