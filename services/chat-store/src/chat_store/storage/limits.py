"""Statements that count exactly what the limits of users apply to (``docs/decisions/0055``)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import msgspec

from chat_store.domain.limits import Account, Queue
from chat_store.storage.rows import PROMPT_BYTES, Connection

WINDOW: Final = timedelta(minutes=1)
"""The sliding window of ``PROMPTS_PER_MINUTE``: no minute has more prompts than the limit."""

_ADMITTED_FOR: Final = timedelta(seconds=10)
"""How long an admitted prompt counts as queued before it is stored. After that it is stored, or was never sent."""

_LOCK_SPACE: Final = 0x6C696D  # "lim"

GET_ACCOUNT: Final = """
SELECT row_to_json(r) FROM (SELECT
    coalesce((SELECT groups FROM users WHERE id = $1), '{}') AS groups,
    coalesce((SELECT role FROM users WHERE id = $1), 'user') AS role,
    coalesce((
        SELECT json_object_agg(model, tokens) FROM (
            SELECT model, sum(input_tokens + output_tokens) AS tokens FROM usage
            WHERE user_id = $1 AND created_at >= $2 GROUP BY model
        ) today
    ), '{}') AS used
) r
"""


async def get_account(connection: Connection, user_id: str, *, since: datetime) -> Account:
    """Return what the limits of a user depend on, with the tokens that were used since ``since``."""
    return msgspec.json.decode(await connection.fetchval(GET_ACCOUNT, user_id, since), type=Account)


GET_QUEUE: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT count(*) AS prompts, coalesce(sum(bytes), 0) AS bytes,
        EXISTS (SELECT FROM generations WHERE chat_id = $1 AND status IN ('requested', 'running')) AS running
    FROM (
        SELECT {PROMPT_BYTES} AS bytes FROM messages WHERE chat_id = $1 AND status = 'queued'
        UNION ALL
        SELECT bytes FROM prompt_admissions a
        WHERE chat_id = $1 AND message_id <> $3
        AND admitted_at BETWEEN now() - $2::interval AND now() + $2::interval
        AND EXISTS (SELECT FROM members m WHERE m.chat_id = a.chat_id AND m.user_id = a.user_id)
        AND NOT EXISTS (SELECT FROM messages m WHERE m.chat_id = a.chat_id AND m.id = a.message_id)
    ) waiting
) r
"""


async def get_queue(connection: Connection, chat_id: str, *, excluding: str) -> Queue:
    """Return the queue of a chat, with prompts that are admitted and not stored yet; of those not ``excluding``."""
    return msgspec.json.decode(await connection.fetchval(GET_QUEUE, chat_id, _ADMITTED_FOR, excluding), type=Queue)


MODEL_OF_CHAT: Final = "SELECT model FROM chats WHERE id = $1"


async def model_of_chat(connection: Connection, chat_id: str) -> str | None:
    model: str | None = await connection.fetchval(MODEL_OF_CHAT, chat_id)
    return model


ARE_ADMITTED: Final = """
SELECT a.chat_id::text, a.message_id::text FROM prompt_admissions a
JOIN unnest($1::uuid[], $2::uuid[]) AS asked(chat_id, message_id) USING (chat_id, message_id)
"""


async def are_admitted(connection: Connection, prompts: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those of the prompts, by chat and message id, that were admitted before."""
    rows = await connection.fetch(ARE_ADMITTED, [one for one, _ in prompts], [one for _, one in prompts])
    return {(row[0], row[1]) for row in rows}


# One statement: the row of the user is locked while it is counted, so that two processes never admit the same place.
# The clock is read when the lock is held; an event's own time is given where it is decided later than it was sent. That
# is by a gateway's clock, which may be ahead, and Postgres' own may be set back: what is later than now by more than
# the window is not counted, or a user would wait until that time has come.
ADMIT: Final = """
WITH before AS (
    SELECT FROM prompt_admissions WHERE chat_id = $1 AND message_id = $2
), counted AS (
    INSERT INTO prompt_rates AS r (user_id, admitted)
    SELECT $3, ARRAY[least($5, clock_timestamp())] WHERE NOT EXISTS (SELECT FROM before)
    ON CONFLICT (user_id) DO UPDATE SET admitted = (
        SELECT coalesce(array_agg(one ORDER BY one), '{}') FROM unnest(r.admitted) AS one
        WHERE one BETWEEN least($5, clock_timestamp()) - $7::interval AND clock_timestamp() + $7::interval
    ) || least($5, clock_timestamp())
    WHERE $6 = 0 OR (
        SELECT count(*) FROM unnest(r.admitted) AS one
        WHERE one BETWEEN least($5, clock_timestamp()) - $7::interval AND clock_timestamp() + $7::interval
    ) < $6
    RETURNING user_id
), added AS (
    INSERT INTO prompt_admissions (chat_id, message_id, user_id, bytes, admitted_at)
    SELECT $1, $2, $3, $4, clock_timestamp() FROM counted
)
SELECT EXISTS (SELECT FROM before) OR EXISTS (SELECT FROM counted)
"""


async def admit(
    connection: Connection,
    chat_id: str,
    message_id: str,
    *,
    user_id: str,
    size: int,
    at: datetime | None,
    limit: int,
) -> bool:
    """Count a prompt of ``size`` bytes, unless its user sent ``limit`` within the minute before ``at`` (now).

    Returns:
        False when there were as many; nothing is counted then. A prompt that was counted before is not counted again.
    """
    try:
        counted = await connection.fetchval(ADMIT, chat_id, message_id, user_id, size, at, limit, WINDOW)
    except asyncpg.UniqueViolationError:
        return True  # a concurrent transaction has counted it, and the statement changed nothing
    # The last place may be the same prompt's: a concurrent transaction took it while this one waited for the lock.
    return bool(counted) or bool(await are_admitted(connection, [(chat_id, message_id)]))


NEXT_PLACE: Final = """
SELECT extract(epoch FROM one + $3::interval - clock_timestamp())::float8
FROM prompt_rates, unnest(admitted) AS one WHERE user_id = $1 AND one <= clock_timestamp() + $3::interval
ORDER BY one DESC OFFSET $2 - 1 LIMIT 1
"""


async def seconds_until_place(connection: Connection, user_id: str, *, limit: int) -> float:
    """Return the seconds after which the user may send again."""
    seconds: float | None = await connection.fetchval(NEXT_PLACE, user_id, limit, WINDOW)
    return max(0.1, seconds or 0.1)


@asynccontextmanager
async def locked(connection: Connection, user_id: str) -> AsyncIterator[None]:
    """Lock the count of a user's chats and running answers, over all processes.

    The lock is the session's, and not a transaction's: what is counted is committed, statement by statement, before
    another session counts.
    """
    await connection.execute("SELECT pg_advisory_lock($1, hashtext($2))", _LOCK_SPACE, user_id)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1, hashtext($2))", _LOCK_SPACE, user_id)


COUNT_RUNNING: Final = "SELECT count(*) FROM generations WHERE user_id = $1 AND ended_at IS NULL"


async def count_running(connection: Connection, user_id: str) -> int:
    """Count a user's answers that are requested or running."""
    return int(await connection.fetchval(COUNT_RUNNING, user_id))


# Only the first prompt of each queue, and only of chats without an active answer, whose end starts the next one.
# OFFSET 0 keeps each NOT EXISTS a look-up: as joins, planned when nothing waited, all rows would be compared with all.
_WAITING: Final = """
FROM messages m WHERE m.status = 'queued'
AND NOT EXISTS (
    SELECT FROM generations g WHERE g.chat_id = m.chat_id AND g.status IN ('requested', 'running') OFFSET 0
)
AND NOT EXISTS (
    SELECT FROM messages q WHERE q.chat_id = m.chat_id AND q.status = 'queued' AND q.position < m.position OFFSET 0
)
"""
NEXT_WAITING: Final = f"SELECT m.chat_id::text {_WAITING} AND m.author_id = $1 ORDER BY m.created_at, m.id LIMIT 1"


async def next_waiting(connection: Connection, user_id: str) -> str | None:
    """Return the chat whose first queued prompt, one of this user's, has waited longest only for the limit."""
    chat_id: str | None = await connection.fetchval(NEXT_WAITING, user_id)
    return chat_id


USERS_WAITING: Final = f"SELECT DISTINCT m.author_id {_WAITING} LIMIT $1"


async def users_waiting(connection: Connection, *, limit: int) -> list[str]:
    """Return users with a prompt that waits only for the limit of running answers."""
    return [row[0] for row in await connection.fetch(USERS_WAITING, limit) if row[0] is not None]


HAS_ROOM_FOR_CHAT: Final = """
SELECT EXISTS (SELECT FROM members WHERE chat_id = $1 AND user_id = $2 AND role = 'owner')
    OR (SELECT count(*) FROM members WHERE user_id = $2 AND role = 'owner') < $3
"""


async def has_room_for_chat(connection: Connection, chat_id: str, *, user_id: str, limit: int) -> bool:
    """Return whether the user owns the chat or may own another one."""
    return bool(await connection.fetchval(HAS_ROOM_FOR_CHAT, chat_id, user_id, limit))


FORGET_ADMISSIONS: Final = """
WITH rates AS (DELETE FROM prompt_rates WHERE admitted[cardinality(admitted)] < $1)
DELETE FROM prompt_admissions WHERE admitted_at < $1
"""


async def forget_admissions(connection: Connection, *, before: datetime) -> None:
    """Delete admissions that do not count any more."""
    await connection.execute(FORGET_ADMISSIONS, before)
