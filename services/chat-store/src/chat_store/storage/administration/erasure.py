"""Erasure of users, in pieces that can be repeated (docs/decisions/0058)."""

from datetime import datetime
from typing import Final

from chat_store.storage.identity import api_keys, sessions
from chat_store.storage.rows import Connection

ERASED_USER: Final = "erased"
"""The user id of usage and generations whose user was erased."""

# Issuer and subject are removed at once, so that the person can sign in again as a new user.
REQUEST: Final = """
UPDATE users SET issuer = NULL, subject = NULL, email = NULL, name = NULL, groups = '{}', role = 'user',
    disabled = true, erase_requested_at = $2, erase_at = $2
WHERE id = $1 AND erase_requested_at IS NULL
"""


async def request(connection: Connection, user_id: str, *, now: datetime) -> bool:
    """Mark the user, and delete profile, sessions and keys. Return whether this is the first request."""
    status = await connection.execute(REQUEST, user_id, now)
    await sessions.end_sessions(connection, user_id, session_id=None, except_id=None)
    await api_keys.revoke_all(connection, user_id)
    return status.endswith(" 1")


DUE: Final = """
SELECT id, erase_requested_at FROM users WHERE erase_at <= $1 ORDER BY erase_at LIMIT $2
"""


async def due(connection: Connection, *, now: datetime, limit: int) -> list[tuple[str, datetime]]:
    """Return the users whose erasure is due, with the time of its request."""
    return [(row[0], row[1]) for row in await connection.fetch(DUE, now, limit)]


ERASED: Final = "UPDATE users SET erase_at = $2 WHERE id = $1"


async def erased(connection: Connection, user_id: str, *, again_at: datetime | None) -> None:
    """Record that the user is erased; ``again_at``: when to repeat the erasure."""
    await connection.execute(ERASED, user_id, again_at)


OWN_CHATS: Final = "SELECT chat_id::text FROM members WHERE user_id = $1 AND role = 'owner' LIMIT $2"


async def own_chats(connection: Connection, user_id: str, *, limit: int) -> list[str]:
    return [row[0] for row in await connection.fetch(OWN_CHATS, user_id, limit)]


CHATS_OF_OTHERS: Final = """
(SELECT chat_id::text FROM members WHERE user_id = $1 AND role <> 'owner' LIMIT $2)
UNION
(SELECT DISTINCT chat_id::text FROM messages WHERE author_id = $1 LIMIT $2)
"""


async def chats_of_others(connection: Connection, user_id: str, *, limit: int) -> list[str]:
    """Return the chats of which the user is a member or in which the user wrote. Own chats are deleted before."""
    return [row[0] for row in await connection.fetch(CHATS_OF_OTHERS, user_id, limit)]


QUEUED: Final = "SELECT id::text FROM messages WHERE chat_id = $1 AND status = 'queued' AND author_id = $2"


async def queued(connection: Connection, chat_id: str, user_id: str) -> list[str]:
    return [row[0] for row in await connection.fetch(QUEUED, chat_id, user_id)]


WRITTEN: Final = """
WITH prompts AS MATERIALIZED (
    SELECT id FROM messages WHERE chat_id = $1 AND author_id = $2 ORDER BY position LIMIT $3
)
SELECT id::text FROM prompts
UNION
SELECT m.id::text FROM prompts JOIN messages m ON m.chat_id = $1 AND m.parent_id = prompts.id AND m.role = 'assistant'
"""


async def written(connection: Connection, chat_id: str, user_id: str, *, limit: int) -> list[str]:
    """Return some prompts of the user in the chat, with the answers to them."""
    return [row[0] for row in await connection.fetch(WRITTEN, chat_id, user_id, limit)]


PURGE_LATER: Final = """
INSERT INTO stream_purges (chat_id, requested_at, purge_at) VALUES ($1, $2, $2)
ON CONFLICT (chat_id) DO UPDATE SET requested_at = excluded.requested_at, purge_at = excluded.purge_at
"""


async def purge_streams_of(connection: Connection, chat_id: str, *, now: datetime) -> None:
    """Request the purge of the chat's handled events from the streams, now and again later."""
    await connection.execute(PURGE_LATER, chat_id, now)


# The rest contains no text, and takes one statement each.
FORGET_REJECTED: Final = """
WITH gone AS (DELETE FROM rejected_prompts WHERE user_id = $1 RETURNING chat_id)
INSERT INTO stream_purges (chat_id, requested_at, purge_at) SELECT DISTINCT chat_id, $2::timestamptz, $2 FROM gone
ON CONFLICT (chat_id) DO UPDATE SET requested_at = excluded.requested_at, purge_at = excluded.purge_at
"""
ANONYMISE: Final = (
    """
    UPDATE generations g SET user_id = $2 FROM usage u
    WHERE u.user_id = $1 AND g.id = u.generation_id AND g.user_id = $1
    """,
    "UPDATE usage SET user_id = $2 WHERE user_id = $1",
    "UPDATE invitations SET invited_by = $2 WHERE invited_by = $1",
)
FORGET: Final = (
    "DELETE FROM invitations WHERE user_id = $1",
    "DELETE FROM prompt_rates WHERE user_id = $1",
    "DELETE FROM prompt_admissions WHERE user_id = $1",
)
ANONYMISE_GENERATIONS_OF_CHAT: Final = "UPDATE generations SET user_id = $3 WHERE chat_id = $1 AND user_id = $2"


async def anonymise_generations(connection: Connection, chat_id: str, user_id: str) -> None:
    """Remove the user's id from the answers of a chat."""
    await connection.execute(ANONYMISE_GENERATIONS_OF_CHAT, chat_id, user_id, ERASED_USER)


async def anonymise_rest(connection: Connection, user_id: str, *, now: datetime) -> None:
    """Remove the user from rows without text: rejected prompts, generations, usage, invitations."""
    await connection.execute(FORGET_REJECTED, user_id, now)
    for statement in ANONYMISE:
        await connection.execute(statement, user_id, ERASED_USER)
    for statement in FORGET:
        await connection.execute(statement, user_id)


IS_EMPTIED: Final = """
SELECT NOT EXISTS (SELECT FROM messages WHERE chat_id = $1 AND id = $2 AND error->>'code' IS DISTINCT FROM 'erased')
"""


async def is_emptied(connection: Connection, chat_id: str, message_id: str) -> bool:
    """Return whether a message was emptied or does not exist."""
    return bool(await connection.fetchval(IS_EMPTIED, chat_id, message_id))


# Ordered by id, which begins with the time of creation: an index on the last change would be updated by every
# message. By the column and not by the text that is returned: that would sort all chats for each page.
OLD_CHATS: Final = """
SELECT id::text FROM chats WHERE id > $1::uuid AND updated_at < $2 ORDER BY chats.id LIMIT $3
"""


async def old_chats(connection: Connection, *, before: datetime, after: str, limit: int) -> list[str]:
    """Return chats that have not changed since ``before``, with ids above ``after``."""
    return [row[0] for row in await connection.fetch(OLD_CHATS, after, before, limit)]
