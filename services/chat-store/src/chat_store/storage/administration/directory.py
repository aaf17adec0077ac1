"""API keys and usage of all users, for administrators."""

from typing import Final

from chat_store.domain.cursors import BeforeKey, BeforeUsage
from chat_store.storage.identity.api_keys import KEY
from chat_store.storage.rows import Connection, fetch_all
from chat_store.storage.usage import SUMS
from parley.contracts.rpc import KeyOfUser, ListUsage, UsageOfUser

FIND_KEYS: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT k.user_id, (SELECT row_to_json(x) FROM (SELECT {KEY}) x) AS key FROM api_keys k
    WHERE (k.created_at, k.id) < ($1, $2::uuid) AND ($3::text IS NULL OR k.user_id = $3)
    ORDER BY k.created_at DESC, k.id DESC LIMIT $4
) r
"""


async def find_keys(connection: Connection, *, user_id: str | None, before: BeforeKey, limit: int) -> list[KeyOfUser]:
    return await fetch_all(connection, KeyOfUser, FIND_KEYS, before.time, before.id, user_id, limit)


LIST_USAGE: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT user_id, row_to_json(sums) AS usage FROM (
        SELECT user_id, model, {SUMS} FROM usage
        WHERE ($1::text IS NULL OR user_id = $1) AND (user_id, model) > ($4, $5)
        AND ($2::date IS NULL OR created_at >= $2::date::timestamp AT TIME ZONE 'UTC')
        AND ($3::date IS NULL OR created_at < ($3::date + 1)::timestamp AT TIME ZONE 'UTC')
        GROUP BY user_id, model ORDER BY user_id, model LIMIT $6
    ) sums
) r
"""


async def list_usage(
    connection: Connection, request: ListUsage, *, after: BeforeUsage, limit: int
) -> list[UsageOfUser]:
    """Return the sums by user and model, in that order."""
    arguments = (request.user_id, request.from_day, request.to_day, after.user_id, after.model, limit)
    return await fetch_all(connection, UsageOfUser, LIST_USAGE, *arguments)
