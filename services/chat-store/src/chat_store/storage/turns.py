"""Turns: a prompt with one of its answers."""

from typing import Final

import msgspec

from chat_store.storage.rows import MESSAGE, Connection
from parley.contracts.completion import CompletionRequest
from parley.contracts.resources import Message

# The prompt's first answer where the prompt is named; of prompts that name the same answer, the first one's.
GET_TURN: Final = f"""
WITH named AS (
    SELECT coalesce(
        (SELECT CASE role WHEN 'user' THEN id ELSE parent_id END FROM messages WHERE chat_id = $1 AND id = $2),
        (SELECT id FROM messages WHERE chat_id = $1 AND status = 'queued' AND answer_id = $2 ORDER BY position LIMIT 1)
    ) AS prompt_id
)
SELECT row_to_json(turn) FROM (
    SELECT c.version AS chat_version, row_to_json(prompt) AS prompt,
        (SELECT completion::json FROM messages WHERE chat_id = $1 AND id = named.prompt_id) AS completion,
        (SELECT row_to_json(r) FROM (
            SELECT {MESSAGE} FROM messages m
            WHERE m.chat_id = $1 AND m.parent_id = named.prompt_id AND m.role = 'assistant'
            AND $2 IN (m.id, named.prompt_id) ORDER BY m.position LIMIT 1
        ) r) AS answer
    FROM named JOIN chats c ON c.id = $1
    JOIN LATERAL (
        SELECT {MESSAGE} FROM messages m WHERE m.chat_id = $1 AND m.id = named.prompt_id
    ) prompt ON true
) turn
"""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt, its completion, and the named or the first answer."""

    chat_version: int
    prompt: Message
    completion: CompletionRequest | None
    answer: Message | None


async def get_turn(connection: Connection, chat_id: str, message_id: str) -> Turn | None:
    """Return the turn of a prompt or of an answer; deleted prompts have one, too."""
    row = await connection.fetchval(GET_TURN, chat_id, message_id)
    return None if row is None else msgspec.json.decode(row, type=Turn)
