"""Users: guests, and those of an identity provider, of another issuer's tokens or of a proxy."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from chat_store.domain.cursors import BeforeUser
from chat_store.storage.rows import Connection, fetch_all, fetch_one
from parley.contracts.access.identity import External, User, UserRole

EXTEND_AFTER: Final = timedelta(minutes=1)
"""The shortest time between two updates of the last use of a session, a user or a key."""

USER: Final = """u.id, u.issuer, u.subject, u.email, u.name, u.role, u.groups, u.disabled, u.created_at,
    u.last_seen_at, u.erase_requested_at IS NOT NULL AS erased"""

GET_USER: Final = f"SELECT row_to_json(r) FROM (SELECT {USER} FROM users u WHERE u.id = $1) r"


async def get_user(connection: Connection, user_id: str) -> User | None:
    return await fetch_one(connection, User, GET_USER, user_id)


# Serializes the transactions that count and add sessions and keys of one user.
LOCK_USER: Final = "SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE"


async def lock_user(connection: Connection, user_id: str) -> bool:
    """Wait for other transactions of this user. Return whether the user exists."""
    return await connection.fetchrow(LOCK_USER, user_id) is not None


CREATE_GUEST: Final = """
INSERT INTO users (id, created_at, last_seen_at) VALUES ($1, $2, $2) ON CONFLICT (id) DO NOTHING
"""


async def create_guest(connection: Connection, user_id: str, *, now: datetime) -> None:
    """Create a guest, unless a user with this id exists."""
    await connection.execute(CREATE_GUEST, user_id, now)


FIND_EXTERNAL: Final = f"""
SELECT row_to_json(r) FROM (SELECT {USER} FROM users u WHERE u.issuer = $1 AND u.subject = $2) r
"""
# Missing members of the profile stay as they were; groups are those of the last sign-in.
_PROFILE: Final = """email = coalesce($3, u.email), name = coalesce($4, u.name), role = coalesce($5, u.role),
    groups = $6, last_seen_at = $7"""
UPDATE_EXTERNAL: Final = f"""
UPDATE users u SET {_PROFILE} WHERE u.issuer = $1 AND u.subject = $2
"""
IDENTIFY_GUEST: Final = f"""
UPDATE users u SET issuer = $1, subject = $2, {_PROFILE} WHERE u.id = $8 AND u.issuer IS NULL AND NOT u.disabled
"""
# An external user who was created meanwhile keeps that id.
CREATE_EXTERNAL: Final = f"""
INSERT INTO users AS u (issuer, subject, email, name, role, groups, created_at, last_seen_at, id)
VALUES ($1, $2, $3, $4, coalesce($5, 'user'), $6, $7, $7, $8)
ON CONFLICT (issuer, subject) WHERE issuer IS NOT NULL DO UPDATE SET {_PROFILE}
"""


async def sign_in(
    connection: Connection, external: External, *, new_user_id: str, guest_id: str | None = None, now: datetime
) -> User:
    """Return the external user with the provider's profile.

    Args:
        guest_id: The guest who signs in and becomes the external user when there is none yet.

    Raises:
        asyncpg.UniqueViolationError: the user has been created meanwhile; the transaction can be repeated.
    """
    found = await _find_external(connection, external)
    if found is not None and _is_current(found, external, now):
        return found
    profile = (
        external.issuer,
        external.subject,
        external.email,
        external.name,
        external.role,
        list(external.groups),
        now,
    )
    if found is not None:
        await connection.execute(UPDATE_EXTERNAL, *profile)
    elif guest_id is None or await connection.execute(IDENTIFY_GUEST, *profile, guest_id) != "UPDATE 1":
        await connection.execute(CREATE_EXTERNAL, *profile, new_user_id)
    stored = await _find_external(connection, external)
    if stored is None:
        raise AssertionError("an external user is not there after it was stored")
    return stored


async def _find_external(connection: Connection, external: External) -> User | None:
    return await fetch_one(connection, User, FIND_EXTERNAL, external.issuer, external.subject)


def _is_current(user: User, external: External, now: datetime) -> bool:
    """Return whether nothing has to be written: the user was seen just now and has the same profile."""
    return (
        now - user.last_seen_at < EXTEND_AFTER
        and external.email in (None, user.email)
        and external.name in (None, user.name)
        and external.role in (None, user.role)
        and list(external.groups) == user.groups
    )


SEE: Final = "UPDATE users SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2"


async def see(connection: Connection, user_id: str, *, now: datetime) -> None:
    """Record that the user was seen."""
    await connection.execute(SEE, user_id, now)


LIST_USERS: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {USER} FROM users u
    WHERE (u.created_at, u.id) < ($1, $2)
    AND ($3::text IS NULL OR concat_ws(E'\\n', u.id, u.name, u.email) ILIKE $3)
    ORDER BY u.created_at DESC, u.id DESC LIMIT $4
) r
"""


async def list_users(connection: Connection, *, query: str | None, before: BeforeUser, limit: int) -> list[User]:
    """Return users whose id, name or e-mail address contains ``query``, the newest first."""
    pattern = None
    if query is not None:
        pattern = "%" + query.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
    return await fetch_all(connection, User, LIST_USERS, before.time, before.id, pattern, limit)


UPDATE_USER: Final = f"""
WITH u AS (
    UPDATE users SET disabled = coalesce($2, disabled), role = coalesce($3, role)
    WHERE id = $1 AND erase_requested_at IS NULL RETURNING *
)
SELECT row_to_json(r) FROM (SELECT {USER} FROM u) r
"""


async def update_user(
    connection: Connection, user_id: str, *, disabled: bool | None, role: UserRole | None
) -> User | None:
    return await fetch_one(connection, User, UPDATE_USER, user_id, disabled, role)


FIND_DISABLED: Final = "SELECT id FROM users WHERE id = ANY($1::text[]) AND disabled"


async def find_disabled(connection: Connection, user_ids: Sequence[str]) -> set[str]:
    """Return those of the users who are disabled."""
    return {row[0] for row in await connection.fetch(FIND_DISABLED, list(user_ids))}


# Looks at one page of guests, since most of them stay. OFFSET 0 keeps each NOT EXISTS a look-up: a join would read all
# of the other table for each page. Returns the last of a full page, where the next one begins.
FORGET_GUESTS: Final = """
WITH page AS MATERIALIZED (
    SELECT last_seen_at, id FROM users WHERE issuer IS NULL AND last_seen_at < $1 AND (last_seen_at, id) > ($2, $3)
    ORDER BY last_seen_at, id LIMIT $4
), unused AS (
    SELECT id FROM users g
    WHERE g.id = ANY(ARRAY(SELECT id FROM page)) AND g.issuer IS NULL AND NOT g.disabled AND g.last_seen_at < $1
    AND NOT EXISTS (SELECT FROM members WHERE user_id = g.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM invitations WHERE user_id = g.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM sessions WHERE user_id = g.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM api_keys WHERE user_id = g.id OFFSET 0)
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM users u USING unused WHERE u.id = unused.id
)
SELECT last_seen_at, id FROM page ORDER BY last_seen_at, id OFFSET $4 - 1
"""

LONGEST_AGO: Final = (datetime.min.replace(tzinfo=UTC), "")
"""After which all guests come."""


async def forget_guests(
    connection: Connection, *, unseen_since: datetime, after: tuple[datetime, str], limit: int
) -> tuple[datetime, str] | None:
    """Delete those of the next ``limit`` guests who own nothing and were not seen since; return where to continue."""
    row = await connection.fetchrow(FORGET_GUESTS, unseen_since, *after, limit)
    return None if row is None else (row[0], row[1])
