"""Rows as JSON: a column has one name from the database to the reader."""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
T = TypeVar("T")

# Columns, as the structs name them.
CHAT_RECORD: Final = """chats.id, chats.owner_id, chats.title, chats.model, chats.system_prompt, chats.tip_id,
    chats.created_at, chats.updated_at, chats.version, chats.revision, chats.last_position"""
CHAT: Final = """c.id, c.owner_id, c.title, c.model, c.system_prompt, c.tip_id, c.created_at, c.updated_at, c.version,
    EXISTS (SELECT FROM generations g WHERE g.chat_id = c.id AND g.status IN ('requested', 'running')) AS running"""
MESSAGE_RECORD: Final = """m.chat_id, m.id, m.parent_id, m.placement, m.role, m.author_id, m.content, m.reasoning,
    m.status, m.model, m.finish_reason, m.error, m.usage, m.created_at, m.version, m.position, m.traceparent,
    m.completion::json AS completion, m.attempt, m.tool_calls::json AS tool_calls, m.layout::json AS layout,
    -- An id that has been taken since is no answer's to get.
    CASE WHEN NOT EXISTS (SELECT FROM messages taken WHERE taken.chat_id = m.chat_id AND taken.id = m.answer_id)
        THEN m.answer_id END AS answer_id"""
MESSAGE: Final = """m.id, m.chat_id, m.parent_id, m.role, m.author_id, m.content, m.reasoning, m.status, m.model,
    m.error, m.usage, m.created_at, m.version, m.finish_reason, m.attempt, m.tool_calls::json AS tool_calls,
    m.layout::json AS layout"""
MESSAGE_BYTES: Final = (
    "octet_length(content) + octet_length(reasoning) + octet_length(tool_calls) + octet_length(layout)"
)
PROMPT_BYTES: Final = "octet_length(content) + coalesce(octet_length(completion), 0)"
# A row of a program before migration 9 says `member`, which is a writer.
MEMBER_ROLE: Final = "CASE role WHEN 'member' THEN 'writer' ELSE role END AS role"
MEMBER_RECORD: Final = f"chat_id, user_id, {MEMBER_ROLE}, added_at"
INVITATION_RECORD: Final = "chat_id, user_id, role, invited_by, created_at"
GENERATION_RECORD: Final = """g.id, g.chat_id, g.message_id, g.user_id, g.status, g.attempt, g.released, g.claim_id,
    g.worker_id, g.claimed_at, g.request, g.requested_at, g.request_seq, g.stop_requested_at, g.created_at,
    g.ended_at, g.traceparent"""


def encode_rows(rows: Iterable[msgspec.Struct | dict[str, Any]]) -> str:
    """Encode the rows that a statement takes with ``json_to_recordset``."""
    return msgspec.json.encode(list(rows)).decode()


async def fetch_one(connection: Connection, kind: type[T], statement: str, *arguments: object) -> T | None:
    """Run a statement whose only column is JSON, and decode the first row; None: there is none."""
    row = await connection.fetchval(statement, *arguments)
    return None if row is None else msgspec.json.decode(row, type=kind)


async def fetch_all(connection: Connection, kind: type[T], statement: str, *arguments: object) -> list[T]:
    """As :func:`fetch_one`, for all rows."""
    return [msgspec.json.decode(row[0], type=kind) for row in await connection.fetch(statement, *arguments)]
