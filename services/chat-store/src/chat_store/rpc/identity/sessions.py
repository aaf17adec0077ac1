"""Requests about sessions and principals."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import asyncpg
from faststream.nats import NatsRouter
from msgspec.structs import replace

from chat_store.errors import Conflict, Contended, Forbidden, Invalid, NotFound
from chat_store.rpc.context import Store
from chat_store.rpc.routing import handles
from chat_store.storage.administration import audit
from chat_store.storage.identity import api_keys, guests, sessions, users
from chat_store.storage.identity.guests import MovedChat
from chat_store.storage.identity.sessions import MAX_SESSIONS, StoredSession
from chat_store.storage.identity.users import EXTEND_AFTER
from chat_store.storage.rows import Connection
from parley.contracts import ids
from parley.contracts.access import identity
from parley.contracts.requests import Done

R = TypeVar("R")

NO_SESSION: Final = "There is no such session."
DISABLED: Final = "This account is disabled."
GUEST: Final = "guest"
"""The method of a session without a sign-in."""

_TRIES: Final = 5

router = NatsRouter()


@handles(router, identity.StartSession)
async def start_session(request: identity.StartSession, store: Store) -> identity.PrincipalReply:
    if not ids.is_id(request.session_id) or not ids.is_id(request.new_user_id):
        raise Invalid("The ids of a session and of a user are UUIDs in lower case.")
    started = await _in_transaction(store, lambda connection: _start(connection, request))
    if started.moved:
        await store.publisher.announce_moved(started.moved, guest_id=request.guest_id or "")
    await store.publisher.revoke(*started.revoked)
    return identity.PrincipalReply(principal=_principal(started.session))


@dataclass(frozen=True, kw_only=True)
class _Started:
    """A session, and what is to be published."""

    session: StoredSession
    revoked: list[identity.Revoked]
    moved: list[MovedChat]


async def _start(connection: Connection, request: identity.StartSession) -> _Started:
    now = datetime.now(UTC)
    revoked: list[identity.Revoked] = []
    moved: list[MovedChat] = []
    session = await sessions.get_session(connection, session_id=request.session_id, now=now)
    if session is None:
        if request.external is not None and request.guest_id is not None:
            revoked += await _end_guest(connection, request.guest_id)
        user = await _user_of(connection, request, now=now)
        await users.lock_user(connection, user.id)
        # Read again: the user may have been erased before the lock was held.
        require_enabled(await users.get_user(connection, user.id) or user)
        if request.external is not None and request.guest_id is not None:
            merged = await guests.merge(connection, request.guest_id, user.id)
            if merged is not None:
                moved = merged
                revoked.append(identity.Revoked(user_id=request.guest_id, disabled=True))
        ended = await sessions.end_oldest(connection, user.id, keep=MAX_SESSIONS - 1)
        revoked += [identity.Revoked(user_id=user.id, session_id=one) for one in ended]
        await sessions.add_session(connection, request, user.id, now=now)
        if request.method != GUEST:
            signed_in = audit.event(
                "sign_in", actor_id=user.id, user_id=user.id, session_id=request.session_id, method=request.method
            )
            await audit.record(connection, signed_in)
        session = await sessions.get_session(connection, session_id=request.session_id, now=now)
    if session is None or session.secret_digest != request.secret_digest:
        raise Conflict("This session id has been used.")
    return _Started(session=session, revoked=revoked, moved=moved)


async def _end_guest(connection: Connection, guest_id: str) -> list[identity.Revoked]:
    """End the sessions and keys of a guest who signs in: an attacker may have planted or copied the cookie."""
    user = await users.get_user(connection, guest_id)
    if user is None or user.issuer is not None:
        return []
    ended = await sessions.end_sessions(connection, guest_id, session_id=None, except_id=None)
    keys = await api_keys.revoke_all(connection, guest_id)
    return [
        *(identity.Revoked(user_id=guest_id, session_id=one) for one in ended),
        *(identity.Revoked(user_id=guest_id, key_id=one) for one in keys),
    ]


async def _user_of(connection: Connection, request: identity.StartSession, *, now: datetime) -> identity.User:
    if request.external is not None:
        return await users.sign_in(
            connection, request.external, new_user_id=request.new_user_id, guest_id=request.guest_id, now=now
        )
    user_id = request.user_id or request.new_user_id
    await users.create_guest(connection, user_id, now=now)
    user = await users.get_user(connection, user_id)
    if user is None or user.issuer is not None:
        # The guest of an earlier cookie has signed in since: the cookie must not start a session of that user.
        raise NotFound(NO_SESSION)
    return user


@handles(router, identity.ResolveSession)
async def resolve_session(request: identity.ResolveSession, store: Store) -> identity.PrincipalReply:
    if request.session_id is not None and not ids.is_id(request.session_id):
        raise NotFound(NO_SESSION)
    now = datetime.now(UTC)
    async with store.database.connection() as connection:
        session = await sessions.get_session(
            connection, session_id=request.session_id, secret_digest=request.secret_digest, now=now
        )
        if session is None:
            raise NotFound(NO_SESSION)
        require_enabled(session.user)
        if now - session.last_used_at >= EXTEND_AFTER:
            expires_at = await sessions.extend(connection, session.id, now=now)
            await users.see(connection, session.user.id, now=now)
            session = replace(session, expires_at=expires_at or session.expires_at)
    return identity.PrincipalReply(principal=_principal(session))


@handles(router, identity.ResolveExternal)
async def resolve_external(request: identity.ResolveExternal, store: Store) -> identity.PrincipalReply:
    if not ids.is_id(request.new_user_id):
        raise Invalid("A user's id is a UUID in lower case.")

    async def resolve(connection: Connection) -> identity.User:
        return await users.sign_in(connection, request.external, new_user_id=request.new_user_id, now=datetime.now(UTC))

    user = await _in_transaction(store, resolve)
    require_enabled(user)
    return identity.PrincipalReply(principal=identity.Principal(user=user))


@handles(router, identity.ListSessions)
async def list_sessions(request: identity.ListSessions, store: Store) -> identity.SessionList:
    async with store.database.connection() as connection:
        items = await sessions.list_sessions(connection, request.user_id, now=datetime.now(UTC))
    return identity.SessionList(items=items)


@handles(router, identity.EndSessions)
async def end_sessions(request: identity.EndSessions, store: Store) -> Done:
    if not all(one is None or ids.is_id(one) for one in (request.session_id, request.except_id)):
        return Done()
    async with store.database.connection() as connection, connection.transaction():
        ended = await sessions.end_sessions(
            connection, request.user_id, session_id=request.session_id, except_id=request.except_id
        )
        user_id = request.user_id
        await audit.record(
            connection,
            *(audit.event("sign_out", actor_id=user_id, user_id=user_id, session_id=one) for one in ended),
        )
    await store.publisher.revoke(*(identity.Revoked(user_id=request.user_id, session_id=one) for one in ended))
    return Done()


@handles(router, identity.EndProviderSessions)
async def end_provider_sessions(request: identity.EndProviderSessions, store: Store) -> Done:
    if request.provider_subject is None and request.provider_session is None:
        raise Invalid("Name a subject, a session of the provider, or both.")
    token_digest = identity.digest(f"{request.issuer} {request.token_id}")
    async with store.database.connection() as connection, connection.transaction():
        if not await sessions.use_logout_token(connection, token_digest, expires_at=request.expires_at):
            raise Conflict("This logout token was used before.")
        ended = await sessions.end_provider_sessions(
            connection, request.issuer, subject=request.provider_subject, provider_session=request.provider_session
        )
        await audit.record(
            connection,
            *(
                audit.event("sign_out", actor_id=None, user_id=user_id, session_id=one, reason="provider")
                for one, user_id in ended
            ),
        )
    await store.publisher.revoke(*(identity.Revoked(user_id=user_id, session_id=one) for one, user_id in ended))
    return Done()


@handles(router, identity.FindRevoked)
async def find_revoked(request: identity.FindRevoked, store: Store) -> identity.RevokedReply:
    now = datetime.now(UTC)
    session_ids, key_ids = list(filter(ids.is_id, request.session_ids)), list(filter(ids.is_id, request.key_ids))
    async with store.database.connection() as connection:
        usable_sessions = await sessions.usable(connection, session_ids, now=now)
        usable_keys = await api_keys.usable(connection, key_ids, now=now)
        disabled = await users.find_disabled(connection, request.user_ids)
    return identity.RevokedReply(
        session_ids=[one for one in request.session_ids if one not in usable_sessions],
        key_ids=[one for one in request.key_ids if one not in usable_keys],
        # A guest of an earlier version has no row before the first write, and is not revoked.
        user_ids=[one for one in request.user_ids if one in disabled],
    )


def require_enabled(user: identity.User) -> None:
    """Raises: Forbidden: the user is disabled."""
    if user.disabled:
        raise Forbidden(DISABLED)


def _principal(session: StoredSession) -> identity.Principal:
    return identity.Principal(user=session.user, session_id=session.id, expires_at=session.expires_at)


async def _in_transaction(store: Store, run: Callable[[Connection], Awaitable[R]]) -> R:
    """Run in one transaction; again when another one has created the same user or session meanwhile.

    Raises:
        Contended: that happened repeatedly.
    """
    for _ in range(_TRIES):
        try:
            async with store.database.connection() as connection, connection.transaction():
                return await run(connection)
        except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError):
            continue
    raise Contended
