"""Changing chats in two statements: :data:`LOAD_STATES` loads what a command needs, :data:`APPLY` writes its result.

The second one writes a chat only if nobody has changed it since the first. So no lock is taken while the rules decide,
versions have no gaps, and a change costs two round trips and one commit (``docs/decisions/0042``).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from chat_store.domain.conversation import Changes, State
from chat_store.domain.rejections import CHAT_BUSY
from chat_store.storage.rows import (
    CHAT_RECORD,
    GENERATION_RECORD,
    INVITATION_RECORD,
    MEMBER_RECORD,
    MESSAGE_RECORD,
    PROMPT_BYTES,
    Connection,
    encode_rows,
    fetch_all,
)


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A chat, and what of it a command names."""

    chat_id: str
    messages: list[str]
    users: list[str]


LOAD_STATES: Final = f"""
SELECT row_to_json(state) FROM (
    SELECT
        (SELECT row_to_json(r) FROM (SELECT {CHAT_RECORD}) r) AS chat,
        row_to_json(active) AS active,
        (SELECT row_to_json(r) FROM (
            SELECT {MESSAGE_RECORD} FROM messages m WHERE m.chat_id = chats.id AND m.id = active.message_id
        ) r) AS answer,
        (SELECT p.parent_id FROM messages a JOIN messages p ON p.chat_id = a.chat_id AND p.id = a.parent_id
            WHERE a.chat_id = chats.id AND a.id = active.message_id) AS prompt_parent_id,
        (SELECT row_to_json(r) FROM (
            SELECT {MESSAGE_RECORD} FROM messages m
            WHERE $2 AND m.chat_id = chats.id AND m.status = 'queued' ORDER BY m.position LIMIT 1
        ) r) AS next_queued,
        (SELECT count(*) FROM messages m WHERE m.chat_id = chats.id AND m.status = 'queued') AS queued,
        (SELECT coalesce(sum({PROMPT_BYTES}), 0) FROM messages m
            WHERE m.chat_id = chats.id AND m.status = 'queued') AS queued_bytes,
        coalesce((SELECT json_agg(r) FROM (
            SELECT {MESSAGE_RECORD} FROM messages m WHERE m.chat_id = chats.id AND m.id = ANY(asked.messages)
            UNION ALL
            SELECT {MESSAGE_RECORD} FROM messages m
            WHERE m.chat_id = chats.id AND m.status = 'queued' AND m.answer_id = ANY(asked.messages)
            AND NOT m.id = ANY(asked.messages)
        ) r), '[]') AS found,
        coalesce((SELECT json_agg(r) FROM (
            SELECT chat_id, message_id, user_id FROM rejected_prompts
            WHERE chat_id = chats.id AND message_id = ANY(asked.messages) AND code = '{CHAT_BUSY}'
        ) r), '[]') AS rejected,
        coalesce((SELECT json_agg(r) FROM (
            SELECT {MEMBER_RECORD} FROM members WHERE chat_id = chats.id AND user_id = ANY(asked.users)
        ) r), '[]') AS members,
        coalesce((SELECT json_agg(r) FROM (
            SELECT {INVITATION_RECORD} FROM invitations WHERE chat_id = chats.id AND user_id = ANY(asked.users)
        ) r), '[]') AS invitations,
        coalesce((SELECT json_agg(id) FROM users WHERE id = ANY(asked.users) AND NOT disabled), '[]') AS users,
        (SELECT count(*) FROM members WHERE chat_id = chats.id AND cardinality(asked.users) > 0)
            + (SELECT count(*) FROM invitations WHERE chat_id = chats.id AND cardinality(asked.users) > 0)
            AS member_count
    FROM json_to_recordset($1) AS asked(chat_id uuid, messages uuid[], users text[])
    JOIN chats ON chats.id = asked.chat_id
    LEFT JOIN LATERAL (
        SELECT {GENERATION_RECORD} FROM generations g
        -- OFFSET 0 keeps this a look-up: a join, planned when nothing ran, would read all that runs for each chat.
        WHERE g.chat_id = chats.id AND g.status IN ('requested', 'running') OFFSET 0
    ) active ON true
) state
"""


async def load_states(connection: Connection, named: Sequence[Named], *, with_queue: bool) -> list[State]:
    """Load what a command needs of these chats, as of one moment. Chats that do not exist are left out.

    Args:
        with_queue: Load the first queued prompt too (for commands that may end a generation).
    """
    return await fetch_all(connection, State, LOAD_STATES, encode_rows(named), with_queue)


# Returns the chats that were changed, with their members until then. The others were changed by somebody else
# meanwhile: nothing is written of them.
# Locked in the order of the ids, or two batches could wait for each other.
APPLY: Final = f"""
WITH locked AS MATERIALIZED (
    SELECT chats.id FROM chats JOIN json_to_recordset($1) AS r(id uuid, revision bigint) ON r.id = chats.id
    WHERE chats.revision = r.revision - 1
    ORDER BY chats.id FOR UPDATE OF chats
), changed_chats AS (
    UPDATE chats SET
        title = r.title, model = r.model, system_prompt = r.system_prompt, tip_id = r.tip_id,
        owner_id = r.owner_id, updated_at = r.updated_at, version = r.version, revision = r.revision,
        last_position = r.last_position
    FROM locked JOIN json_to_recordset($1) AS r(
        id uuid, owner_id text, title text, model text, system_prompt text, tip_id uuid, updated_at timestamptz,
        version bigint, revision bigint, last_position bigint
    ) ON r.id = locked.id
    WHERE chats.id = locked.id AND chats.revision = r.revision - 1
    RETURNING chats.id
), changed_messages AS (
    INSERT INTO messages (
        chat_id, id, parent_id, placement, role, author_id, content, reasoning, status, model, finish_reason, error,
        usage, created_at, version, position, traceparent, completion, answer_id, attempt, tool_calls, layout
    )
    SELECT r.* FROM changed_chats JOIN json_to_recordset($2) AS r(
        chat_id uuid, id uuid, parent_id uuid, placement text, role text, author_id text, content text, reasoning text,
        status text, model text, finish_reason text, error jsonb, usage jsonb, created_at timestamptz, version bigint,
        position bigint, traceparent text, completion text, answer_id uuid, attempt integer, tool_calls text,
        layout text
    ) ON r.chat_id = changed_chats.id
    ON CONFLICT (chat_id, id) DO UPDATE SET
        parent_id = excluded.parent_id, author_id = excluded.author_id, content = excluded.content,
        reasoning = excluded.reasoning, status = excluded.status, model = excluded.model,
        finish_reason = excluded.finish_reason, error = excluded.error, usage = excluded.usage,
        version = excluded.version, position = excluded.position, traceparent = excluded.traceparent,
        completion = excluded.completion, answer_id = excluded.answer_id, attempt = excluded.attempt,
        tool_calls = excluded.tool_calls, layout = excluded.layout
), changed_generations AS (
    INSERT INTO generations AS g (
        id, chat_id, message_id, user_id, status, attempt, released, claim_id, worker_id, claimed_at, request,
        requested_at, stop_requested_at, created_at, ended_at, traceparent
    )
    SELECT r.id, r.chat_id, r.message_id, r.user_id, r.status, r.attempt, r.released, r.claim_id, r.worker_id,
        r.claimed_at, r.request, r.requested_at, r.stop_requested_at, r.created_at, r.ended_at, r.traceparent
    FROM changed_chats JOIN json_to_recordset($3) AS r(
        id uuid, chat_id uuid, message_id uuid, user_id text, status text, attempt integer, released integer,
        claim_id text, worker_id text, claimed_at timestamptz, request integer, requested_at timestamptz,
        stop_requested_at timestamptz, created_at timestamptz, ended_at timestamptz, traceparent text
    ) ON r.chat_id = changed_chats.id
    -- What ended first, or the one that follows would be a second active one.
    ORDER BY r.status IN ('requested', 'running')
    ON CONFLICT (id) DO UPDATE SET
        status = excluded.status, attempt = excluded.attempt, released = excluded.released,
        claim_id = excluded.claim_id, worker_id = excluded.worker_id, claimed_at = excluded.claimed_at,
        -- Marked on its own (MARK_REQUESTED), so what was loaded may be older than what is there.
        request_seq = CASE WHEN excluded.request = g.request THEN g.request_seq END,
        request = excluded.request, requested_at = excluded.requested_at,
        stop_requested_at = excluded.stop_requested_at, ended_at = excluded.ended_at
), gone_rounds AS (
    DELETE FROM tool_rounds USING changed_chats, json_to_recordset($3) AS r(id uuid, chat_id uuid, ended_at timestamptz)
    WHERE r.chat_id = changed_chats.id AND r.ended_at IS NOT NULL AND tool_rounds.generation_id = r.id
), new_usage AS (
    INSERT INTO usage (
        generation_id, chat_id, user_id, model, input_tokens, output_tokens, created_at, estimated, cost
    )
    SELECT r.* FROM changed_chats JOIN json_to_recordset($4) AS r(
        generation_id uuid, chat_id uuid, user_id text, model text, input_tokens bigint, output_tokens bigint,
        created_at timestamptz, estimated boolean, cost double precision
    ) ON r.chat_id = changed_chats.id
    ON CONFLICT (generation_id) DO NOTHING
), changed_members AS (
    INSERT INTO members (chat_id, user_id, role, added_at)
    SELECT r.* FROM changed_chats
    JOIN json_to_recordset($5) AS r(chat_id uuid, user_id text, role text, added_at timestamptz)
    ON r.chat_id = changed_chats.id
    -- The owner before, who becomes a writer, first: a chat has one owner.
    ORDER BY r.role = 'owner'
    ON CONFLICT (chat_id, user_id) DO UPDATE SET role = excluded.role
), gone_members AS (
    DELETE FROM members USING changed_chats, json_to_recordset($6) AS r(chat_id uuid, user_id text)
    WHERE r.chat_id = changed_chats.id AND members.chat_id = r.chat_id AND members.user_id = r.user_id
), changed_invitations AS (
    INSERT INTO invitations (chat_id, user_id, role, invited_by, created_at)
    SELECT r.* FROM changed_chats
    JOIN json_to_recordset($7) AS r(chat_id uuid, user_id text, role text, invited_by text, created_at timestamptz)
    ON r.chat_id = changed_chats.id
    ON CONFLICT (chat_id, user_id) DO UPDATE SET role = excluded.role
), gone_invitations AS (
    DELETE FROM invitations USING changed_chats, json_to_recordset($8) AS r(chat_id uuid, user_id text)
    WHERE r.chat_id = changed_chats.id AND invitations.chat_id = r.chat_id AND invitations.user_id = r.user_id
), new_rejections AS (
    INSERT INTO rejected_prompts (chat_id, message_id, user_id, code, rejected_at)
    SELECT r.*, '{CHAT_BUSY}', now() FROM changed_chats
    JOIN json_to_recordset($9) AS r(chat_id uuid, message_id uuid, user_id text)
    ON r.chat_id = changed_chats.id
    ON CONFLICT (chat_id, message_id, user_id) DO UPDATE SET code = excluded.code
)
SELECT id::text, array(SELECT user_id FROM members WHERE members.chat_id = changed_chats.id) AS members
FROM changed_chats
"""

_UPSERTED: Final = frozenset({"generations_pkey", "generations_one_active", "messages_pkey", "messages_in_order"})
"""The unique indexes of the rows that APPLY inserts or updates."""

DELETE_CHAT: Final = """
WITH gone AS (
    DELETE FROM chats WHERE id = $1 AND revision = $2 - 1 RETURNING id, owner_id
), noted AS (
    INSERT INTO deleted_chats (id, owner_id, deleted_at, generation_id, purge_at)
    SELECT id, owner_id, $3, $4::uuid, $3 FROM gone
)
SELECT array(SELECT user_id FROM members WHERE members.chat_id = gone.id) FROM gone
"""


def _rows_of(changes: Sequence[Changes]) -> list[str]:
    """Return the parameters of APPLY."""
    tables: list[Sequence[msgspec.Struct | dict[str, Any]]] = [
        [change.chat for change in changes],
        [message for change in changes for message in change.messages],
        [generation for change in changes for generation in change.generations],
        [usage for change in changes for usage in change.usage],
        [member for change in changes for member in change.members_changed],
        [{"chat_id": change.chat.id, "user_id": one} for change in changes for one in change.members_removed],
        [invitation for change in changes for invitation in change.invitations_changed],
        [{"chat_id": change.chat.id, "user_id": one} for change in changes for one in change.invitations_removed],
        [rejection for change in changes for rejection in change.rejected],
    ]
    return [encode_rows(rows) for rows in tables]


async def apply(connection: Connection, changes: Sequence[Changes], *, now: datetime) -> dict[str, list[str]]:
    """Write what the commands came to, each chat wholly or not at all.

    Returns:
        The chats that were written, with their members until then. The others have changed since they were loaded, or
        while they were written.
    """
    written: dict[str, list[str]] = {}
    kept = [change for change in changes if not change.deleted]
    if kept:
        try:
            rows = await connection.fetch(APPLY, *_rows_of(kept))
        except asyncpg.UniqueViolationError as error:
            # While a row gets a new version of the same key (MARK_REQUESTED, the index of search), ON CONFLICT may miss
            # both versions and insert a second one, which Postgres then refuses. The statement has written nothing.
            if error.constraint_name not in _UPSERTED:
                raise
            rows = []
        written.update((row[0], row[1]) for row in rows)
    for change in changes:
        if change.deleted:
            members = await connection.fetchval(DELETE_CHAT, change.chat.id, change.chat.revision, now, change.stop)
            if members is not None:
                written[change.chat.id] = members
    return written
