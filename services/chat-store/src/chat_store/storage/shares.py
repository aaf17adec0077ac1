"""Share links, and the branches that they show."""

from datetime import datetime
from typing import Final

import msgspec

from chat_store.storage.rows import Connection, fetch_all, fetch_one
from parley.contracts.rpc import CreateShareLink, SharedMessage, ShareLink

MAX_LINKS: Final = 100
"""The maximum number of links of one chat."""

_LINK: Final = "l.id, l.chat_id, l.live, l.tip_id, l.created_at"

# A link without later messages stores the end of the branch when it is created.
ADD_LINK: Final = """
INSERT INTO share_links (id, chat_id, token_digest, live, tip_id, created_at)
SELECT $1, c.id, $3, $4, CASE WHEN $4 THEN $5::uuid ELSE coalesce($5, c.tip_id) END, $6 FROM chats c
WHERE c.id = $2
AND ($5 IS NULL OR EXISTS (
    SELECT FROM messages m WHERE m.chat_id = c.id AND m.id = $5 AND m.status NOT IN ('queued', 'deleted')
))
AND (SELECT count(*) FROM share_links l WHERE l.chat_id = c.id) < $7
ON CONFLICT DO NOTHING
"""


async def add_link(connection: Connection, request: CreateShareLink, *, now: datetime) -> bool:
    """Add a link. Return False: the tip is not in the chat, there are too many links, or the id is used."""
    status = await connection.execute(
        ADD_LINK,
        request.share_id,
        request.chat_id,
        request.token_digest,
        request.live,
        request.tip_id,
        now,
        MAX_LINKS,
    )
    return status.endswith(" 1")


LIST_LINKS: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {_LINK} FROM share_links l WHERE l.chat_id = $1 ORDER BY l.created_at DESC, l.id DESC
) r
"""


async def list_links(connection: Connection, chat_id: str) -> list[ShareLink]:
    return await fetch_all(connection, ShareLink, LIST_LINKS, chat_id)


REVOKE_LINK: Final = "DELETE FROM share_links WHERE chat_id = $1 AND id = $2"


async def revoke_link(connection: Connection, chat_id: str, share_id: str) -> bool:
    """Revoke a link of a chat; return whether there was one."""
    status = await connection.execute(REVOKE_LINK, chat_id, share_id)
    return status.endswith(" 1")


FIND_LINK: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {_LINK}, c.title, c.tip_id AS chat_tip_id
    FROM share_links l JOIN chats c ON c.id = l.chat_id WHERE l.token_digest = $1
) r
"""


class LinkedChat(ShareLink, frozen=True, kw_only=True):
    """A link with its chat."""

    title: str | None
    chat_tip_id: str | None


async def find_link(connection: Connection, token_digest: str) -> LinkedChat | None:
    return await fetch_one(connection, LinkedChat, FIND_LINK, token_digest)


NEWEST_BELOW: Final = """
WITH RECURSIVE down AS (
    SELECT $2::uuid AS id, 1 AS depth
    UNION ALL
    SELECT newest.id, down.depth + 1 FROM down, LATERAL (
        SELECT m.id FROM messages m
        WHERE m.chat_id = $1 AND m.parent_id = down.id AND m.status NOT IN ('queued', 'deleted')
        ORDER BY m.position DESC LIMIT 1
    ) newest
)
SELECT id::text FROM down ORDER BY depth DESC LIMIT 1
"""


async def newest_below(connection: Connection, chat_id: str, message_id: str) -> str:
    """Return the end of the branch through a message: at each fork, the newest message."""
    found: str = await connection.fetchval(NEWEST_BELOW, chat_id, message_id)
    return found


# Walks up from the tip with ids and positions only. Messages of erased users are left out, and those without text:
# results and calls of tools, images.
BRANCH_PAGE: Final = """
WITH RECURSIVE branch AS (
    SELECT id, parent_id, position FROM messages WHERE chat_id = $1 AND id = $2
    UNION ALL
    SELECT m.id, m.parent_id, m.position FROM branch JOIN messages m ON m.chat_id = $1 AND m.id = branch.parent_id
)
SELECT row_to_json(r), position FROM (
    SELECT m.id, m.parent_id, m.role, m.content, m.status, m.model, m.created_at, page.position FROM (
        SELECT branch.id, branch.position,
            sum(octet_length(m.content)) OVER (ORDER BY branch.position) AS bytes,
            row_number() OVER (ORDER BY branch.position) AS number
        FROM branch JOIN messages m ON m.chat_id = $1 AND m.id = branch.id
        WHERE branch.position > $3 AND m.status IN ('sent', 'complete', 'stopped', 'failed')
        AND m.error->>'code' IS DISTINCT FROM 'erased'
        AND NOT (m.content = '' AND (m.completion IS NOT NULL OR m.tool_calls <> '[]'))
        ORDER BY branch.position LIMIT $4
    ) page JOIN messages m ON m.chat_id = $1 AND m.id = page.id
    WHERE page.number = 1 OR page.bytes <= $5
) r ORDER BY position
"""


async def branch_page(
    connection: Connection, chat_id: str, tip_id: str, *, after: int, limit: int, max_bytes: int
) -> list[tuple[SharedMessage, int]]:
    """Return ended messages of a branch with their positions, oldest first: one at least, and as many as fit."""
    rows = await connection.fetch(BRANCH_PAGE, chat_id, tip_id, after, limit, max_bytes)
    return [(msgspec.json.decode(row[0], type=SharedMessage), row[1]) for row in rows]
