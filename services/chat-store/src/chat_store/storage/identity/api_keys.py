"""API keys. A revoked key is deleted."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from chat_store.storage.identity.users import EXTEND_AFTER, USER
from chat_store.storage.rows import Connection, fetch_all, fetch_one
from parley.contracts.access.identity import ApiKey, CreateApiKey, User

MAX_KEYS: Final = 100
"""The maximum number of API keys of one user."""

KEY: Final = "k.id, k.name, k.prefix, k.scopes, k.created_at, k.last_used_at, k.expires_at"


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    key: ApiKey
    secret_digest: str
    user: User


GET_KEY: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT k.secret_digest,
        (SELECT row_to_json(x) FROM (SELECT {KEY}) x) AS key,
        (SELECT row_to_json(u) FROM (SELECT {USER} FROM users u WHERE u.id = k.user_id) u) AS user
    FROM api_keys k WHERE k.prefix = $1 AND (k.expires_at IS NULL OR k.expires_at > $2)
) r
"""


async def get_key(connection: Connection, prefix: str, *, now: datetime) -> StoredKey | None:
    """Return the key with this prefix, unless it has expired."""
    return await fetch_one(connection, StoredKey, GET_KEY, prefix, now)


ADD_KEY: Final = """
INSERT INTO api_keys (id, user_id, name, prefix, secret_digest, scopes, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING
"""


async def add_key(connection: Connection, request: CreateApiKey, *, now: datetime) -> bool:
    """Add a key, unless its id or its prefix has been used; return whether it was added."""
    status = await connection.execute(
        ADD_KEY,
        request.key_id,
        request.user_id,
        request.name,
        request.prefix,
        request.secret_digest,
        list(request.scopes),
        now,
        request.expires_at,
    )
    return status.endswith(" 1")


USE_KEY: Final = "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)"


async def use_key(connection: Connection, key_id: str, *, now: datetime) -> None:
    await connection.execute(USE_KEY, key_id, now, now - EXTEND_AFTER)


LIST_KEYS: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {KEY} FROM api_keys k WHERE k.user_id = $1 ORDER BY k.created_at DESC, k.id DESC
) r
"""


async def list_keys(connection: Connection, user_id: str) -> list[ApiKey]:
    return await fetch_all(connection, ApiKey, LIST_KEYS, user_id)


REVOKE_KEY: Final = "DELETE FROM api_keys WHERE ($1::text IS NULL OR user_id = $1) AND id = $2 RETURNING user_id"


async def revoke_key(connection: Connection, user_id: str | None, key_id: str) -> str | None:
    """Revoke a key of a user (None: of any user). Return the id of its user; None: there is no such key."""
    owner: str | None = await connection.fetchval(REVOKE_KEY, user_id, key_id)
    return owner


REVOKE_ALL: Final = "DELETE FROM api_keys WHERE user_id = $1 RETURNING id::text"


async def revoke_all(connection: Connection, user_id: str) -> list[str]:
    """Revoke all keys of a user; return their ids."""
    return [row[0] for row in await connection.fetch(REVOKE_ALL, user_id)]


USABLE: Final = """
SELECT k.id::text FROM api_keys k JOIN users u ON u.id = k.user_id
WHERE k.id = ANY($1::uuid[]) AND (k.expires_at IS NULL OR k.expires_at > $2) AND NOT u.disabled
"""


async def usable(connection: Connection, key_ids: Sequence[str], *, now: datetime) -> set[str]:
    """Return those of the keys that are valid."""
    return {row[0] for row in await connection.fetch(USABLE, list(key_ids), now)}
