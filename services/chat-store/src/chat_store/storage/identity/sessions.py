"""Sessions. One that has ended is deleted or expired."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from chat_store.storage.identity.users import EXTEND_AFTER, USER
from chat_store.storage.rows import Connection, fetch_all, fetch_one
from parley.contracts.access.identity import SessionInfo, StartSession, User

MAX_SESSIONS: Final = 100
"""The maximum number of sessions of one user. Another one ends the least recently used."""


class StoredSession(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    secret_digest: str
    last_used_at: datetime
    expires_at: datetime
    user: User


GET_SESSION: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT s.id, s.secret_digest, s.last_used_at, s.expires_at,
        (SELECT row_to_json(u) FROM (SELECT {USER} FROM users u WHERE u.id = s.user_id) u) AS user
    FROM sessions s
    WHERE (s.id = $1::uuid OR s.secret_digest = $2) AND s.expires_at > $3
) r
"""


async def get_session(
    connection: Connection, *, session_id: str | None = None, secret_digest: str | None = None, now: datetime
) -> StoredSession | None:
    """The session with this id, or this digest of its secret, if it has not ended."""
    return await fetch_one(connection, StoredSession, GET_SESSION, session_id, secret_digest, now)


ADD_SESSION: Final = """
INSERT INTO sessions (
    id, user_id, secret_digest, method, address, user_agent, created_at, last_used_at, idle_seconds, expires_at,
    ends_at, provider_session
) VALUES (
    $1, $2, $3, $4, $5, $6, $7, $7, $8,
    $7::timestamptz + make_interval(secs => least($8::float8, $9::float8)),
    $7::timestamptz + make_interval(secs => $9::float8),
    $10
)
"""


async def add_session(connection: Connection, request: StartSession, user_id: str, *, now: datetime) -> None:
    await connection.execute(
        ADD_SESSION,
        request.session_id,
        user_id,
        request.secret_digest,
        request.method,
        request.address,
        request.user_agent,
        now,
        request.idle_seconds,
        request.absolute_seconds,
        request.provider_session,
    )


END_OLDEST: Final = """
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions WHERE user_id = $1 ORDER BY last_used_at DESC, id DESC OFFSET $2
) RETURNING id::text
"""


async def end_oldest(connection: Connection, user_id: str, *, keep: int) -> list[str]:
    """End all but the ``keep`` sessions that were used last; return the ids of those that were ended."""
    return [row[0] for row in await connection.fetch(END_OLDEST, user_id, keep)]


# The condition on last_used_at is repeated here, so that only one of concurrent requests extends the session.
EXTEND: Final = """
UPDATE sessions SET
    last_used_at = $2, expires_at = least(ends_at, $2::timestamptz + make_interval(secs => idle_seconds))
WHERE id = $1 AND last_used_at <= $3 RETURNING expires_at
"""


async def extend(connection: Connection, session_id: str, *, now: datetime) -> datetime | None:
    """Record the use of a session. Return its new end; None: another request has just recorded it."""
    expires_at: datetime | None = await connection.fetchval(EXTEND, session_id, now, now - EXTEND_AFTER)
    return expires_at


LIST_SESSIONS: Final = """
SELECT row_to_json(r) FROM (
    SELECT id, created_at, last_used_at, expires_at, address, user_agent, method FROM sessions
    WHERE user_id = $1 AND expires_at > $2 ORDER BY last_used_at DESC, id DESC
) r
"""


async def list_sessions(connection: Connection, user_id: str, *, now: datetime) -> list[SessionInfo]:
    return await fetch_all(connection, SessionInfo, LIST_SESSIONS, user_id, now)


END_SESSIONS: Final = """
DELETE FROM sessions
WHERE user_id = $1 AND ($2::uuid IS NULL OR id = $2) AND ($3::uuid IS NULL OR id <> $3)
RETURNING id::text
"""


async def end_sessions(
    connection: Connection, user_id: str, *, session_id: str | None, except_id: str | None
) -> list[str]:
    """End one session of a user, or all but one; return the ids of those that were ended."""
    return [row[0] for row in await connection.fetch(END_SESSIONS, user_id, session_id, except_id)]


# $1: the issuer, $2: the subject, $3: the provider's session, or null for all of the subject's.
END_OF_SUBJECT: Final = """
DELETE FROM sessions s USING users u
WHERE u.issuer = $1 AND u.subject = $2 AND s.user_id = u.id AND s.method = 'oidc'
AND ($3::text IS NULL OR s.provider_session IS NULL OR s.provider_session = $3)
RETURNING s.id::text, s.user_id
"""
END_OF_PROVIDER_SESSION: Final = """
DELETE FROM sessions s USING users u
WHERE s.provider_session = $2 AND u.id = s.user_id AND u.issuer = $1 AND s.method = 'oidc'
RETURNING s.id::text, s.user_id
"""


async def end_provider_sessions(
    connection: Connection, issuer: str, *, subject: str | None, provider_session: str | None
) -> list[tuple[str, str]]:
    """End the sessions of a sign-in with the provider. Return the id of each and of its user."""
    if subject is None:
        rows = await connection.fetch(END_OF_PROVIDER_SESSION, issuer, provider_session)
    else:
        rows = await connection.fetch(END_OF_SUBJECT, issuer, subject, provider_session)
    return [(row[0], row[1]) for row in rows]


USE_LOGOUT_TOKEN: Final = """
INSERT INTO used_logout_tokens (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""


async def use_logout_token(connection: Connection, digest: str, *, expires_at: datetime) -> bool:
    """Record the use of a logout token. Return False when it was used before."""
    status = await connection.execute(USE_LOGOUT_TOKEN, digest, expires_at)
    return status.endswith(" 1")


USABLE: Final = """
SELECT s.id::text FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = ANY($1::uuid[]) AND s.expires_at > $2 AND NOT u.disabled
"""


async def usable(connection: Connection, session_ids: Sequence[str], *, now: datetime) -> set[str]:
    """Return those of the sessions that are valid."""
    return {row[0] for row in await connection.fetch(USABLE, list(session_ids), now)}


# An array is looked up by its elements; a join would read all sessions for each batch.
FORGET_ENDED: Final = """
DELETE FROM sessions WHERE id = ANY(ARRAY(
    SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
))
"""


FORGET_LOGOUT_TOKENS: Final = "DELETE FROM used_logout_tokens WHERE expires_at <= $1"


async def forget_ended(connection: Connection, *, now: datetime, limit: int) -> int:
    """Delete expired sessions and logout tokens. Return the number of sessions."""
    await connection.execute(FORGET_LOGOUT_TOKENS, now)
    status = await connection.execute(FORGET_ENDED, now, limit)
    return int(status.rpartition(" ")[2])
