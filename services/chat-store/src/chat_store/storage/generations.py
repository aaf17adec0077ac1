"""Generations, and rounds of tools of those that are active: APPLY removes them when the answer ends."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from chat_store.domain.records import GenerationRecord
from chat_store.domain.tool_rounds import StoredRound
from chat_store.storage.rows import GENERATION_RECORD, Connection, encode_rows, fetch_all, fetch_one
from parley.contracts.resources import GenerationRef
from parley.contracts.rpc import StoreToolRound

GET_ACTIVE: Final = """
SELECT row_to_json(r) FROM (
    SELECT id AS generation_id, message_id, attempt, status FROM generations
    WHERE chat_id = $1 AND status IN ('requested', 'running')
) r
"""


async def get_active(connection: Connection, chat_id: str) -> GenerationRef | None:
    return await fetch_one(connection, GenerationRef, GET_ACTIVE, chat_id)


CHAT_OF_GENERATION: Final = "SELECT chat_id::text FROM generations WHERE id = $1"


async def chat_of_generation(connection: Connection, generation_id: str) -> str | None:
    chat_id: str | None = await connection.fetchval(CHAT_OF_GENERATION, generation_id)
    return chat_id


MARK_REQUESTED: Final = """
UPDATE generations g SET request_seq = r.request_seq
FROM json_to_recordset($1) AS r(id uuid, request integer, request_seq bigint)
WHERE g.id = r.id AND g.request = r.request
"""


async def mark_requested(connection: Connection, requests: Sequence[tuple[GenerationRecord, int]]) -> None:
    """Note the stream sequence under which each generation's request is stored."""
    rows = [
        {"id": generation.id, "request": generation.request, "request_seq": sequence}
        for generation, sequence in requests
    ]
    await connection.execute(MARK_REQUESTED, encode_rows(rows))


UNPUBLISHED: Final = f"""
SELECT row_to_json(g) FROM (
    SELECT {GENERATION_RECORD} FROM generations g
    WHERE g.request_seq IS NULL AND g.status IN ('requested', 'running') AND g.requested_at < $1
    ORDER BY g.requested_at LIMIT $2
) g
"""


async def unpublished(connection: Connection, *, before: datetime, limit: int) -> list[GenerationRecord]:
    """Active generations whose request is not known to be stored, though it was due ``before``."""
    return await fetch_all(connection, GenerationRecord, UNPUBLISHED, before, limit)


OLDEST_REQUEST: Final = "SELECT min(requested_at) FROM generations WHERE status = 'requested'"


async def oldest_request(connection: Connection) -> datetime | None:
    """When the answer was requested that has waited longest for a worker."""
    oldest: datetime | None = await connection.fetchval(OLDEST_REQUEST)
    return oldest


STOPPING: Final = """
SELECT id::text FROM generations WHERE stop_requested_at IS NOT NULL AND status IN ('requested', 'running')
UNION ALL
SELECT generation_id::text FROM deleted_chats WHERE deleted_at > $1 AND generation_id IS NOT NULL
"""


async def stopping(connection: Connection, *, deleted_after: datetime) -> list[str]:
    """Return the generations whose workers must get a stop signal."""
    return [row[0] for row in await connection.fetch(STOPPING, deleted_after)]


ACTIVE_SINCE: Final = f"""
SELECT row_to_json(g) FROM (
    SELECT {GENERATION_RECORD} FROM generations g
    WHERE g.status IN ('requested', 'running')
    AND CASE g.status WHEN 'running' THEN g.claimed_at < $1 ELSE g.requested_at < $2 END
) g
"""


async def active_since(
    connection: Connection, *, claimed_before: datetime, requested_before: datetime
) -> list[GenerationRecord]:
    """Return the generations that were claimed, or that have waited for a claim, since before those moments."""
    return await fetch_all(connection, GenerationRecord, ACTIVE_SINCE, claimed_before, requested_before)


REQUEST_ANEW: Final = """
UPDATE generations SET request_seq = NULL, released = released + (status = 'running')::integer
WHERE status IN ('requested', 'running') AND (id, attempt) NOT IN (SELECT * FROM unnest($1::uuid[], $2::integer[]))
"""


async def request_anew(connection: Connection, *, ending: Sequence[tuple[str, int]]) -> None:
    """Have every answer that is due requested by the sweeper: the stream and the workers are gone (a restored backup).

    The attempts under way do not count against the limit. ``ending``: generations, and the attempts, whose end still
    comes by the stream.
    """
    await connection.execute(REQUEST_ANEW, [one for one, _ in ending], [attempt for _, attempt in ending])


# The lock makes it wait for a claim under way, and a claim wait for it: either the round is refused, or whoever claims
# gets it.
STORE_TOOL_ROUND: Final = """
WITH current AS MATERIALIZED (
    SELECT id FROM generations WHERE id = $1 AND chat_id = $2 AND attempt = $3 AND status = 'running' FOR UPDATE
)
INSERT INTO tool_rounds (generation_id, number, round) SELECT id, $4, $5 FROM current
ON CONFLICT (generation_id, number) DO UPDATE SET round = excluded.round
RETURNING decisions
"""


async def store_tool_round(connection: Connection, request: StoreToolRound) -> dict[str, bool] | None:
    """Store a round, or replace the one of this number.

    Returns:
        What was decided about its calls; None: the attempt is not the current one.
    """
    content = msgspec.json.encode(request.round).decode()
    decisions = await connection.fetchval(
        STORE_TOOL_ROUND, request.generation_id, request.chat_id, request.attempt, request.number, content
    )
    return None if decisions is None else msgspec.json.decode(decisions, type=dict[str, bool])


LIST_TOOL_ROUNDS: Final = """
SELECT row_to_json(r) FROM (
    SELECT number, round::json AS round, decisions::json AS decisions FROM tool_rounds
    WHERE generation_id = $1 ORDER BY number
) r
"""


async def list_tool_rounds(connection: Connection, generation_id: str) -> list[StoredRound]:
    """Return the rounds of a running answer in their order."""
    return await fetch_all(connection, StoredRound, LIST_TOOL_ROUNDS, generation_id)


LOCK_ACTIVE: Final = """
SELECT id::text FROM generations
WHERE chat_id = $1 AND message_id = $2 AND status IN ('requested', 'running') FOR UPDATE
"""


async def lock_active(connection: Connection, chat_id: str, message_id: str) -> str | None:
    """Return the active generation of an answer, whose rounds stay as they are until the transaction ends."""
    generation_id: str | None = await connection.fetchval(LOCK_ACTIVE, chat_id, message_id)
    return generation_id


STORE_DECISIONS: Final = "UPDATE tool_rounds SET decisions = $3 WHERE generation_id = $1 AND number = $2"


async def store_decisions(connection: Connection, generation_id: str, stored: StoredRound) -> None:
    decisions = msgspec.json.encode(stored.decisions).decode()
    await connection.execute(STORE_DECISIONS, generation_id, stored.number, decisions)
