"""The record of tokens: one row for each answer, which stays when its chat is deleted."""

from datetime import UTC, date, datetime, time
from typing import Final

from chat_store.storage.rows import Connection, fetch_all
from parley.contracts.resources import TokenUsage
from parley.contracts.rpc import GetUsage

SUMS: Final = """count(*) AS answers, sum(input_tokens)::bigint AS input_tokens,
    sum(output_tokens)::bigint AS output_tokens, count(*) FILTER (WHERE estimated) AS estimated, sum(cost) AS cost"""
_OF_USER: Final = "FROM usage WHERE user_id = $1 AND created_at >= $2 AND created_at <= $3"
USAGE_BY_MODEL: Final = f"""
SELECT row_to_json(r) FROM (SELECT model, {SUMS} {_OF_USER} GROUP BY model ORDER BY model) r
"""
USAGE_BY_DAY: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, model, {SUMS} {_OF_USER} GROUP BY 1, 2 ORDER BY 1, 2
) r
"""


async def get_usage(connection: Connection, request: GetUsage) -> list[TokenUsage]:
    """Sum a user's tokens by model, or by day and model, the oldest day first."""
    # Both bounds are always given: an optional condition could not use an index.
    begin = datetime.combine(request.from_day or date.min, time(), UTC)
    end = datetime.combine(request.to_day or date.max, time.max, UTC)
    statement = USAGE_BY_DAY if request.by_day else USAGE_BY_MODEL
    return await fetch_all(connection, TokenUsage, statement, request.user_id, begin, end)
