"""Rounds of tools of running answers. APPLY removes them when the answer ends."""

from typing import Final

import msgspec

from chat_store.domain.tool_rounds import StoredRound
from chat_store.storage.rows import Connection, decode_rows
from parley.contracts.completion import ToolRound
from parley.contracts.rpc import StoreToolRound
from parley.contracts.text import storable_json

# The lock makes it wait for a claim under way, and a claim wait for it: either the round is refused, or whoever claims
# gets it.
STORE: Final = """
WITH current AS MATERIALIZED (
    SELECT id FROM generations WHERE id = $1 AND chat_id = $2 AND attempt = $3 AND status = 'running' FOR UPDATE
)
INSERT INTO tool_rounds (generation_id, number, round) SELECT id, $4, $5 FROM current
ON CONFLICT (generation_id, number) DO UPDATE SET round = excluded.round
RETURNING decisions
"""


async def store(connection: Connection, request: StoreToolRound) -> dict[str, bool] | None:
    """Store a round, or replace the one of this number.

    Returns:
        What was decided about its calls; None: the attempt is not the current one.
    """
    content = msgspec.json.encode(storable_json(request.round, ToolRound)).decode()
    decisions = await connection.fetchval(
        STORE, request.generation_id, request.chat_id, request.attempt, request.number, content
    )
    return None if decisions is None else msgspec.json.decode(decisions, type=dict[str, bool])


LIST: Final = """
SELECT row_to_json(r) FROM (
    SELECT number, round::json AS round, decisions::json AS decisions FROM tool_rounds
    WHERE generation_id = $1 ORDER BY number
) r
"""


async def list_rounds(connection: Connection, generation_id: str) -> list[StoredRound]:
    """Return the rounds of a running answer in their order."""
    return decode_rows(await connection.fetch(LIST, generation_id), StoredRound)


LOCK: Final = """
SELECT id::text FROM generations
WHERE chat_id = $1 AND message_id = $2 AND status IN ('requested', 'running') FOR UPDATE
"""


async def lock_generation(connection: Connection, chat_id: str, message_id: str) -> str | None:
    """Return the active generation of an answer, whose rounds stay as they are until the transaction ends."""
    generation_id: str | None = await connection.fetchval(LOCK, chat_id, message_id)
    return generation_id


DECIDE: Final = "UPDATE tool_rounds SET decisions = $3 WHERE generation_id = $1 AND number = $2"


async def store_decisions(connection: Connection, generation_id: str, stored: StoredRound) -> None:
    decisions = msgspec.json.encode(stored.decisions).decode()
    await connection.execute(DECIDE, generation_id, stored.number, decisions)
