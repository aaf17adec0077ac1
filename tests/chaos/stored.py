"""The rows in Postgres, read directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import asyncpg


@dataclass(frozen=True, kw_only=True)
class StoredMessage:
    """A row of ``messages``; ``position`` is its place in the chat, ``error`` the error's code."""

    id: str
    chat_id: str
    parent_id: str | None
    role: str
    content: str
    reasoning: str
    status: str
    error: str | None
    position: int
    version: int


@dataclass(frozen=True, kw_only=True)
class StoredGeneration:
    """A row of ``generations``. Times are Unix seconds."""

    id: str
    message_id: str
    chat_id: str
    status: str
    attempt: int
    created_at: float
    ended_at: float | None


@dataclass(frozen=True)
class Stored:
    """All rows. ``versions`` by chat."""

    versions: dict[str, int]
    messages: dict[tuple[str, str], StoredMessage]
    generations: list[StoredGeneration]

    def answers_to(self, chat_id: str, prompt_id: str) -> list[StoredMessage]:
        return [
            message
            for message in self.messages.values()
            if message.chat_id == chat_id and message.parent_id == prompt_id and message.role == "assistant"
        ]


_MESSAGES = """
    SELECT id::text, chat_id::text, parent_id::text, role, content, reasoning, status, error->>'code' AS error,
           position, version
    FROM messages
"""
_GENERATIONS = """
    SELECT id::text, message_id::text, chat_id::text, status, attempt,
           extract(epoch FROM created_at)::float8 AS created_at, extract(epoch FROM ended_at)::float8 AS ended_at
    FROM generations
"""
_UNFINISHED = """
    SELECT (SELECT count(*) FROM generations WHERE status IN ('requested', 'running'))
         + (SELECT count(*) FROM messages WHERE status = 'queued')
"""


async def read_stored(url: str) -> Stored:
    """Return all rows, as of one moment."""
    async with _connected(url) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        chats = await connection.fetch("SELECT id::text, version FROM chats")
        messages = [StoredMessage(**row) for row in await connection.fetch(_MESSAGES)]
        generations = [StoredGeneration(**row) for row in await connection.fetch(_GENERATIONS)]
    return Stored(
        {row["id"]: row["version"] for row in chats},
        {(message.chat_id, message.id): message for message in messages},
        generations,
    )


async def count_unfinished(url: str) -> int:
    """Return the number of unfinished answers and queued prompts."""
    async with _connected(url) as connection:
        return cast(int, await connection.fetchval(_UNFINISHED))


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        yield connection
    finally:
        await connection.close()
