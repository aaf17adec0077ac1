"""Rounds of tools of running answers. APPLY removes them when the answer ends."""

from typing import Final

from chat_store.storage.rows import Connection, decode_rows, encode_rows
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
"""


async def store(connection: Connection, request: StoreToolRound) -> bool:
    """Store a round, or replace the one of this number; False: the attempt is not the current one."""
    content = encode_rows([storable_json(request.round, ToolRound)])[1:-1]
    status = await connection.execute(
        STORE, request.generation_id, request.chat_id, request.attempt, request.number, content
    )
    return status.endswith(" 1")


LIST: Final = "SELECT round FROM tool_rounds WHERE generation_id = $1 ORDER BY number"


async def list_rounds(connection: Connection, generation_id: str) -> list[ToolRound]:
    """Return the rounds of a running answer in their order."""
    return decode_rows(await connection.fetch(LIST, generation_id), ToolRound)
