"""Chats, and what is left of deleted ones."""

from datetime import datetime
from typing import Final

from chat_store.domain.cursors import BeforeChat
from chat_store.storage.rows import CHAT, Connection, fetch_all, fetch_one
from parley.contracts.resources import Chat

CREATE_CHAT: Final = """
WITH new_chat AS (
    INSERT INTO chats (id, owner_id, title, model, system_prompt, created_at, updated_at, version)
    SELECT $1, $2, $3, $4, $5, $6, $6, 1 WHERE NOT EXISTS (SELECT FROM deleted_chats WHERE id = $1)
    ON CONFLICT (id) DO NOTHING RETURNING id, owner_id
)
INSERT INTO members (chat_id, user_id, role, added_at) SELECT id, owner_id, 'owner', $6 FROM new_chat
"""


async def create_chat(
    connection: Connection,
    chat_id: str,
    *,
    owner_id: str,
    title: str | None,
    model: str | None,
    system_prompt: str | None,
    now: datetime,
) -> bool:
    """Create the chat, unless its id has been used; return whether it was created."""
    status = await connection.execute(CREATE_CHAT, chat_id, owner_id, title, model, system_prompt, now)
    return status.endswith(" 1")


GET_CHAT: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {CHAT} FROM chats c WHERE c.id = $1
    AND ($2::text IS NULL OR EXISTS (SELECT FROM members WHERE chat_id = c.id AND user_id = $2))
) r
"""


async def get_chat(connection: Connection, chat_id: str, *, user_id: str | None = None) -> Chat | None:
    """The chat; with ``user_id`` only when that is one of its members."""
    return await fetch_one(connection, Chat, GET_CHAT, chat_id, user_id)


# A membership repeats when its chat changed last, so that an index has a user's chats in order.
LIST_CHATS: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {CHAT} FROM (
        SELECT chat_id FROM members WHERE user_id = $1 AND (changed_at, chat_id) < ($2, $3::uuid)
        ORDER BY changed_at DESC, chat_id DESC LIMIT $4
    ) page JOIN chats c ON c.id = page.chat_id
    ORDER BY c.updated_at DESC, c.id DESC
) r
"""


async def list_chats(connection: Connection, user_id: str, *, before: BeforeChat, limit: int) -> list[Chat]:
    return await fetch_all(connection, Chat, LIST_CHATS, user_id, before.time, before.id, limit)


MOVED: Final = """
SELECT asked.id::text, coalesce(c.version, -1) AS version
FROM unnest($1::uuid[], $2::bigint[]) AS asked(id, version) LEFT JOIN chats c ON c.id = asked.id
WHERE c.version IS DISTINCT FROM asked.version
"""


async def moved(connection: Connection, versions: dict[str, int]) -> dict[str, int]:
    """Chats whose version is not the given one, with the one they have; -1: there is no such chat."""
    rows = await connection.fetch(MOVED, list(versions.keys()), list(versions.values()))
    return {row[0]: row[1] for row in rows}


OWNER_OF_DELETED: Final = "SELECT owner_id FROM deleted_chats WHERE id = $1"


async def owner_of_deleted(connection: Connection, chat_id: str) -> str | None:
    owner: str | None = await connection.fetchval(OWNER_OF_DELETED, chat_id)
    return owner


FORGET_DELETED: Final = "DELETE FROM deleted_chats WHERE deleted_at < $1"


async def forget_deleted(connection: Connection, *, before: datetime) -> None:
    await connection.execute(FORGET_DELETED, before)


TO_PURGE: Final = """
SELECT id::text, deleted_at FROM deleted_chats WHERE purge_at <= $1 ORDER BY purge_at LIMIT $2
"""


async def to_purge(connection: Connection, *, now: datetime, limit: int) -> list[tuple[str, datetime]]:
    """Deleted chats that the streams are to be purged of, with when they were deleted."""
    return [(row[0], row[1]) for row in await connection.fetch(TO_PURGE, now, limit)]


PURGED: Final = "UPDATE deleted_chats SET purge_at = $2 WHERE id = $1"


async def purged(connection: Connection, chat_id: str, *, again_at: datetime | None) -> None:
    """The streams hold nothing of the chat now; ``again_at``: to be looked at once more."""
    await connection.execute(PURGED, chat_id, again_at)


TO_PURGE_HANDLED: Final = """
SELECT chat_id::text, requested_at FROM stream_purges WHERE purge_at <= $1 ORDER BY purge_at LIMIT $2
"""


async def to_purge_handled(connection: Connection, *, now: datetime, limit: int) -> list[tuple[str, datetime]]:
    """Chats of which the streams are to be purged of what is handled, with since when."""
    return [(row[0], row[1]) for row in await connection.fetch(TO_PURGE_HANDLED, now, limit)]


# A later request begins anew.
PURGED_HANDLED: Final = """
WITH done AS (DELETE FROM stream_purges WHERE chat_id = $1 AND requested_at = $2 AND $3::timestamptz IS NULL)
UPDATE stream_purges SET purge_at = $3 WHERE chat_id = $1 AND requested_at = $2 AND $3 IS NOT NULL
"""


async def purged_handled(
    connection: Connection, chat_id: str, requested_at: datetime, *, again_at: datetime | None
) -> None:
    """The streams hold nothing handled of the chat now; ``again_at``: to be looked at once more."""
    await connection.execute(PURGED_HANDLED, chat_id, requested_at, again_at)
