"""Messages put straight into the tables, for searches over many or over long ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

from parley.contracts import ids

_CHAT = """
INSERT INTO chats (id, owner_id, created_at, updated_at, version, last_position) VALUES ($1, $2, $3, $3, 1, $4)
"""
_MEMBER = "INSERT INTO members (chat_id, user_id, role, added_at) VALUES ($1, $2, 'owner', $3)"
_MESSAGES = """
INSERT INTO messages
    (chat_id, id, placement, role, author_id, content, reasoning, status, created_at, version, position)
SELECT $1, text.id, 'tip', 'user', $2, text.content, '', 'sent',
    $3::timestamptz + text.number * interval '1 second', 1, text.number
FROM unnest($4::uuid[], $5::text[]) WITH ORDINALITY AS text(id, content, number)
"""


async def write(database_url: str, user_id: str, contents: Sequence[str]) -> list[str]:
    """Store messages in one chat of ``user_id``, the oldest first, and return their ids."""
    now = datetime.now(UTC) - timedelta(days=1)
    chat_id, message_ids = ids.new_id(), [ids.new_id() for _ in contents]
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute(_CHAT, chat_id, user_id, now, len(contents))
            await connection.execute(_MEMBER, chat_id, user_id, now)
            await connection.execute(_MESSAGES, chat_id, user_id, now, message_ids, list(contents))
    finally:
        await connection.close()
    return message_ids
