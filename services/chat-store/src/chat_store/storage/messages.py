"""Messages and turns, and prompts that were accepted and rejected."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from chat_store.domain.context import BranchMessage
from chat_store.domain.rejections import Rejection, rejected_message
from chat_store.storage.rows import MESSAGE, MESSAGE_BYTES, PROMPT_BYTES, Connection, encode_rows, fetch_all, fetch_one
from parley.contracts.completion import CompletionRequest
from parley.contracts.resources import Message
from parley.contracts.text import storable

LAST_POSITION: Final = 2**63 - 1

# A message of a chat that is the user's, or else a prompt of the user's that was rejected. One that was stored in spite
# of it (sent again, or replayed by an operator) goes before, unless the id is another's.
GET_MESSAGE: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {MESSAGE} FROM messages m WHERE m.chat_id = $1 AND m.id = $2 AND m.status <> 'deleted'
    AND EXISTS (SELECT FROM members WHERE chat_id = m.chat_id AND user_id = $3)
    AND (m.author_id = $3 OR NOT EXISTS (
        SELECT FROM rejected_prompts WHERE chat_id = $1 AND message_id = $2 AND user_id = $3
    ))
) r
"""

GET_REJECTION: Final = """
SELECT code, rejected_at FROM rejected_prompts WHERE chat_id = $1 AND message_id = $2 AND user_id = $3
"""


async def get_message(connection: Connection, chat_id: str, message_id: str, *, user_id: str) -> Message | None:
    """The message, if the user may read it; a prompt of the user's that was rejected, as ``rejected``."""
    found = await fetch_one(connection, Message, GET_MESSAGE, chat_id, message_id, user_id)
    return found or await get_rejected(connection, chat_id, message_id, user_id=user_id)


async def get_rejected(connection: Connection, chat_id: str, message_id: str, *, user_id: str) -> Message | None:
    """Return a prompt of the user's that was rejected."""
    rejection = await connection.fetchrow(GET_REJECTION, chat_id, message_id, user_id)
    if rejection is None:
        return None
    return rejected_message(chat_id=chat_id, message_id=message_id, user_id=user_id, **rejection)


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
    return await fetch_one(connection, Turn, GET_TURN, chat_id, message_id)


# Sizes are summed before a row's text is read, so that a page of long answers is cut short here and not in memory.
LIST_MESSAGES: Final = f"""
SELECT (SELECT row_to_json(r) FROM (SELECT {MESSAGE}) r), m.position, CASE WHEN $5 THEN m.completion END FROM (
    SELECT *, row_number() OVER (ORDER BY position DESC) AS number, sum(
        {MESSAGE_BYTES} + CASE WHEN $5 THEN coalesce(octet_length(completion), 0) ELSE 0 END
    ) OVER (ORDER BY position DESC) AS bytes
    FROM messages
    WHERE chat_id = $1 AND status <> 'deleted' AND position < $2
    ORDER BY position DESC LIMIT $3
) m
WHERE m.number = 1 OR m.bytes <= $4
ORDER BY m.position DESC
"""


class Listed(msgspec.Struct, frozen=True):
    """A message of a page, with its position in the chat."""

    message: Message
    position: int
    completion: CompletionRequest | None


async def list_messages(
    connection: Connection, chat_id: str, *, before: int | None, limit: int, max_bytes: int, completions: bool
) -> list[Listed]:
    """Return messages, newest first; always one, then as many as fit.

    Args:
        completions: Include what prompts ask for in addition to text.
    """
    place = LAST_POSITION if before is None else before
    rows = await connection.fetch(LIST_MESSAGES, chat_id, place, limit, max_bytes, completions)
    return [
        Listed(
            msgspec.json.decode(row[0], type=Message),
            row[1],
            None if row[2] is None else msgspec.json.decode(row[2], type=CompletionRequest),
        )
        for row in rows
    ]


COUNT_CHANGED_SINCE: Final = """
SELECT count(*) FROM (SELECT FROM messages WHERE chat_id = $1 AND version > $2 LIMIT $3) changed
"""

MESSAGES_CHANGED_SINCE: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {MESSAGE}, m.position FROM (
        SELECT *, sum({MESSAGE_BYTES}) OVER () AS bytes
        FROM messages WHERE chat_id = $1 AND version > $2 LIMIT $3
    ) m WHERE m.bytes <= $4
) r ORDER BY r.position
"""


async def messages_changed_since(
    connection: Connection, chat_id: str, version: int, *, limit: int, max_bytes: int
) -> list[Message] | None:
    """Messages that changed after ``version``, deleted ones too; None when there are more than fit."""
    count = await connection.fetchval(COUNT_CHANGED_SINCE, chat_id, version, limit + 1)
    if count > limit:
        return None
    found = await fetch_all(connection, Message, MESSAGES_CHANGED_SINCE, chat_id, version, limit, max_bytes)
    return found if len(found) == count else None


ANY_MESSAGE_BEFORE: Final = """
SELECT EXISTS (SELECT FROM messages WHERE chat_id = $1 AND position < $2 AND status <> 'deleted')
"""


async def any_message_before(connection: Connection, chat_id: str, position: int) -> bool:
    return bool(await connection.fetchval(ANY_MESSAGE_BEFORE, chat_id, position))


# Goes up from the prompt with ids and sizes only, until more is gathered than can be sent.
BRANCH: Final = f"""
WITH RECURSIVE branch AS (
    SELECT id, parent_id, ({PROMPT_BYTES} + octet_length(tool_calls))::bigint AS bytes, 1 AS depth
    FROM messages WHERE chat_id = $1 AND id = $2
    UNION ALL
    SELECT m.id, m.parent_id,
        branch.bytes + octet_length(m.content) + coalesce(octet_length(m.completion), 0) + octet_length(m.tool_calls),
        branch.depth + 1
    FROM branch JOIN messages m ON m.chat_id = $1 AND m.id = branch.parent_id
    WHERE branch.bytes <= $3
)
SELECT row_to_json(r) FROM (
    SELECT m.role, m.content, m.completion::json AS completion, m.tool_calls::json AS tool_calls, branch.depth
    FROM branch JOIN messages m ON m.chat_id = $1 AND m.id = branch.id
    WHERE m.status IN ('sent', 'complete', 'stopped', 'failed')
) r ORDER BY r.depth DESC
"""


async def branch(connection: Connection, chat_id: str, message_id: str, *, max_bytes: int) -> list[BranchMessage]:
    """Return the branch from the root to ``message_id``, oldest first; of a long branch, the newest ``max_bytes``."""
    return await fetch_all(connection, BranchMessage, BRANCH, chat_id, message_id, max_bytes)


EXISTS: Final = "SELECT EXISTS (SELECT FROM messages WHERE chat_id = $1 AND id = $2)"


async def exists(connection: Connection, chat_id: str, message_id: str) -> bool:
    """Whether a message of the chat, of whatever status, has this id."""
    return bool(await connection.fetchval(EXISTS, chat_id, message_id))


IS_HANDLED: Final = """
SELECT EXISTS (SELECT FROM messages WHERE chat_id = $1 AND id = $2)
    OR EXISTS (SELECT FROM rejected_prompts WHERE chat_id = $1 AND message_id = $2)
"""


async def is_handled(connection: Connection, chat_id: str, message_id: str) -> bool:
    """Whether a prompt with this id was stored or rejected."""
    return bool(await connection.fetchval(IS_HANDLED, chat_id, message_id))


ADD_REJECTIONS: Final = """
INSERT INTO rejected_prompts (chat_id, message_id, user_id, code, rejected_at)
SELECT r.*, $2 FROM json_to_recordset($1) AS r(chat_id uuid, message_id uuid, user_id text, code text)
ON CONFLICT (chat_id, message_id, user_id) DO UPDATE SET code = excluded.code
"""


async def add_rejections(connection: Connection, rejections: Sequence[Rejection], *, now: datetime) -> None:
    rows = [
        {
            "chat_id": rejection.prompt.chat_id,
            "message_id": rejection.prompt.message_id,
            "user_id": storable(rejection.prompt.user_id),
            "code": rejection.code,
        }
        for rejection in {one.prompt.id + one.prompt.user_id: one for one in rejections}.values()
    ]
    await connection.execute(ADD_REJECTIONS, encode_rows(rows), now)


FORGET_REJECTED: Final = "DELETE FROM rejected_prompts WHERE rejected_at < $1"


async def forget_rejected(connection: Connection, *, before: datetime) -> None:
    await connection.execute(FORGET_REJECTED, before)
