"""All SQL of chat-store, as named statements.

Rows come as JSON and are decoded into records at once, so a column has one name from here to the reader. A change to a
chat is two statements: what it is decided on (:data:`LOAD_STATES`), and all of its writes (:data:`APPLY`), which are
made only if nobody has changed the chat in between. So no lock is held while the rules decide, versions have no gaps,
and a change costs two round trips and one commit.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, TypeVar

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from chat_store.domain.conversation import Changes, State
from chat_store.domain.cursors import BeforeChat, BeforeHit
from chat_store.domain.records import GenerationRecord, MemberRecord
from chat_store.domain.rejections import Rejection, rejected_message
from chat_store.domain.search import AROUND, Asked
from parley.contracts.resources import Chat, GenerationRef, Message, Role, TokenUsage
from parley.contracts.rpc import ContextMessage
from parley.contracts.text import storable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
T = TypeVar("T")

LAST_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)
LAST_ID: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
LAST_POSITION: Final = 2**63 - 1

# --- columns, as the structs name them ------------------------------------------------------------------------------

_CHAT_RECORD = """chats.id, chats.owner_id, chats.title, chats.model, chats.system_prompt, chats.tip_id,
    chats.created_at, chats.updated_at, chats.version, chats.revision, chats.last_position"""
_CHAT = """c.id, c.owner_id, c.title, c.model, c.system_prompt, c.tip_id, c.created_at, c.updated_at, c.version,
    EXISTS (SELECT FROM generations g WHERE g.chat_id = c.id AND g.status IN ('requested', 'running')) AS running"""
_MESSAGE_RECORD = """m.chat_id, m.id, m.parent_id, m.placement, m.role, m.author_id, m.content, m.reasoning, m.status,
    m.model, m.finish_reason, m.error, m.usage, m.created_at, m.version, m.position,
    m.traceparent"""
_MESSAGE = """m.id, m.chat_id, m.parent_id, m.role, m.author_id, m.content, m.reasoning, m.status, m.model, m.error,
    m.usage, m.created_at, m.version, m.finish_reason"""
_GENERATION_RECORD = """g.id, g.chat_id, g.message_id, g.user_id, g.status, g.attempt, g.released, g.claim_id,
    g.worker_id, g.claimed_at, g.request, g.requested_at, g.request_seq, g.stop_requested_at, g.created_at,
    g.ended_at, g.traceparent"""

# --- changing a chat ------------------------------------------------------------------------------------------------

LOAD_STATES: Final = f"""
SELECT row_to_json(state) FROM (
    SELECT
        (SELECT row_to_json(r) FROM (SELECT {_CHAT_RECORD}) r) AS chat,
        row_to_json(active) AS active,
        (SELECT row_to_json(r) FROM (
            SELECT {_MESSAGE_RECORD} FROM messages m WHERE m.chat_id = chats.id AND m.id = active.message_id
        ) r) AS answer,
        (SELECT row_to_json(r) FROM (
            SELECT {_MESSAGE_RECORD} FROM messages m
            WHERE $2 AND m.chat_id = chats.id AND m.status = 'queued' ORDER BY m.position LIMIT 1
        ) r) AS next_queued,
        (SELECT count(*) FROM messages m WHERE m.chat_id = chats.id AND m.status = 'queued') AS queued,
        coalesce((SELECT json_agg(r) FROM (
            SELECT {_MESSAGE_RECORD} FROM messages m WHERE m.chat_id = chats.id AND m.id = ANY(asked.messages)
        ) r), '[]') AS found,
        coalesce((SELECT json_agg(r) FROM (
            SELECT chat_id, user_id, role, added_at FROM members WHERE chat_id = chats.id AND user_id = ANY(asked.users)
        ) r), '[]') AS members,
        (SELECT count(*) FROM members WHERE chat_id = chats.id AND cardinality(asked.users) > 0) AS member_count
    FROM json_to_recordset($1) AS asked(chat_id uuid, messages uuid[], users text[])
    JOIN chats ON chats.id = asked.chat_id
    LEFT JOIN LATERAL (
        SELECT {_GENERATION_RECORD} FROM generations g
        WHERE g.chat_id = chats.id AND g.status IN ('requested', 'running')
    ) active ON true
) state
"""

# Returns the chats that were changed, with their members until then. The others were changed by somebody else
# meanwhile: nothing is written of them.
# Locked in the order of the ids, or two batches could wait for each other.
APPLY: Final = """
WITH locked AS MATERIALIZED (
    SELECT chats.id FROM chats JOIN json_to_recordset($1) AS r(id uuid, revision bigint) ON r.id = chats.id
    WHERE chats.revision = r.revision - 1
    ORDER BY chats.id FOR UPDATE OF chats
), changed_chats AS (
    UPDATE chats SET
        title = r.title, model = r.model, system_prompt = r.system_prompt, tip_id = r.tip_id,
        updated_at = r.updated_at, version = r.version, revision = r.revision, last_position = r.last_position
    FROM locked JOIN json_to_recordset($1) AS r(
        id uuid, title text, model text, system_prompt text, tip_id uuid, updated_at timestamptz, version bigint,
        revision bigint, last_position bigint
    ) ON r.id = locked.id
    WHERE chats.id = locked.id AND chats.revision = r.revision - 1
    RETURNING chats.id
), changed_messages AS (
    INSERT INTO messages (
        chat_id, id, parent_id, placement, role, author_id, content, reasoning, status, model, finish_reason, error,
        usage, created_at, version, position, traceparent
    )
    SELECT r.* FROM changed_chats JOIN json_to_recordset($2) AS r(
        chat_id uuid, id uuid, parent_id uuid, placement text, role text, author_id text, content text, reasoning text,
        status text, model text, finish_reason text, error jsonb, usage jsonb, created_at timestamptz, version bigint,
        position bigint, traceparent text
    ) ON r.chat_id = changed_chats.id
    ON CONFLICT (chat_id, id) DO UPDATE SET
        parent_id = excluded.parent_id, content = excluded.content, reasoning = excluded.reasoning,
        status = excluded.status, model = excluded.model, finish_reason = excluded.finish_reason,
        error = excluded.error, usage = excluded.usage, version = excluded.version, position = excluded.position
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
), new_usage AS (
    INSERT INTO usage (generation_id, chat_id, user_id, model, input_tokens, output_tokens, created_at)
    SELECT r.* FROM changed_chats JOIN json_to_recordset($4) AS r(
        generation_id uuid, chat_id uuid, user_id text, model text, input_tokens bigint, output_tokens bigint,
        created_at timestamptz
    ) ON r.chat_id = changed_chats.id
    ON CONFLICT (generation_id) DO NOTHING
), new_members AS (
    INSERT INTO members (chat_id, user_id, role, added_at)
    SELECT r.* FROM changed_chats
    JOIN json_to_recordset($5) AS r(chat_id uuid, user_id text, role text, added_at timestamptz)
    ON r.chat_id = changed_chats.id
    ON CONFLICT (chat_id, user_id) DO NOTHING
), gone_members AS (
    DELETE FROM members USING changed_chats, json_to_recordset($6) AS r(chat_id uuid, user_id text)
    WHERE r.chat_id = changed_chats.id AND members.chat_id = r.chat_id AND members.user_id = r.user_id
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

ADD_REJECTIONS: Final = """
INSERT INTO rejected_prompts (chat_id, message_id, user_id, code, rejected_at)
SELECT r.*, $2 FROM json_to_recordset($1) AS r(chat_id uuid, message_id uuid, user_id text, code text)
ON CONFLICT (chat_id, message_id, user_id) DO UPDATE SET code = excluded.code
"""

MARK_REQUESTED: Final = """
UPDATE generations g SET request_seq = r.request_seq
FROM json_to_recordset($1) AS r(id uuid, request integer, request_seq bigint)
WHERE g.id = r.id AND g.request = r.request
"""

CREATE_CHAT: Final = """
WITH new_chat AS (
    INSERT INTO chats (id, owner_id, title, model, system_prompt, created_at, updated_at, version)
    SELECT $1, $2, $3, $4, $5, $6, $6, 1 WHERE NOT EXISTS (SELECT FROM deleted_chats WHERE id = $1)
    ON CONFLICT (id) DO NOTHING RETURNING id, owner_id
)
INSERT INTO members (chat_id, user_id, role, added_at) SELECT id, owner_id, 'owner', $6 FROM new_chat
"""

# --- reading: the gateway -------------------------------------------------------------------------------------------

ROLE_OF: Final = "SELECT role FROM members WHERE chat_id = $1 AND user_id = $2"

# A message of a chat that is the user's, or else a prompt of the user's that was rejected. One that was stored in spite
# of it (sent again, or replayed by an operator) goes before, unless the id is another's.
GET_MESSAGE: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {_MESSAGE} FROM messages m WHERE m.chat_id = $1 AND m.id = $2 AND m.status <> 'deleted'
    AND EXISTS (SELECT FROM members WHERE chat_id = m.chat_id AND user_id = $3)
    AND (m.author_id = $3 OR NOT EXISTS (
        SELECT FROM rejected_prompts WHERE chat_id = $1 AND message_id = $2 AND user_id = $3
    ))
) r
"""

IS_HANDLED: Final = """
SELECT EXISTS (SELECT FROM messages WHERE chat_id = $1 AND id = $2)
    OR EXISTS (SELECT FROM rejected_prompts WHERE chat_id = $1 AND message_id = $2)
"""

GET_REJECTION: Final = """
SELECT code, rejected_at FROM rejected_prompts WHERE chat_id = $1 AND message_id = $2 AND user_id = $3
"""

OWNER_OF_DELETED: Final = "SELECT owner_id FROM deleted_chats WHERE id = $1"

GET_CHAT: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {_CHAT} FROM chats c WHERE c.id = $1
    AND ($2::text IS NULL OR EXISTS (SELECT FROM members WHERE chat_id = c.id AND user_id = $2))
) r
"""

# A membership repeats when its chat changed last, so that an index has a user's chats in order.
LIST_CHATS: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {_CHAT} FROM (
        SELECT chat_id FROM members WHERE user_id = $1 AND (changed_at, chat_id) < ($2, $3::uuid)
        ORDER BY changed_at DESC, chat_id DESC LIMIT $4
    ) page JOIN chats c ON c.id = page.chat_id
    ORDER BY c.updated_at DESC, c.id DESC
) r
"""

# Sizes are summed before a row's text is read, so that a page of long answers is cut short here and not in memory.
LIST_MESSAGES: Final = f"""
SELECT row_to_json(r), r.position FROM (
    SELECT {_MESSAGE}, m.position FROM (
        SELECT *, sum(octet_length(content) + octet_length(reasoning)) OVER (ORDER BY position DESC) AS bytes,
            row_number() OVER (ORDER BY position DESC) AS number
        FROM messages
        WHERE chat_id = $1 AND status <> 'deleted' AND position < $2
        ORDER BY position DESC LIMIT $3
    ) m
    WHERE m.number = 1 OR m.bytes <= $4
) r ORDER BY r.position DESC
"""

MESSAGES_CHANGED_SINCE: Final = f"""
SELECT row_to_json(r) FROM (
    SELECT {_MESSAGE}, m.position FROM (
        SELECT *, sum(octet_length(content) + octet_length(reasoning)) OVER () AS bytes
        FROM messages WHERE chat_id = $1 AND version > $2 LIMIT $3
    ) m WHERE m.bytes <= $4
) r ORDER BY r.position
"""

COUNT_CHANGED_SINCE: Final = """
SELECT count(*) FROM (SELECT FROM messages WHERE chat_id = $1 AND version > $2 LIMIT $3) changed
"""

ANY_MESSAGE_BEFORE: Final = """
SELECT EXISTS (SELECT FROM messages WHERE chat_id = $1 AND position < $2 AND status <> 'deleted')
"""

# $2 is what was asked for, $3 its words (each has to occur), $4 the longest of them, which an index may look up. What
# holds all of $2 as it stands comes first, and of that, what holds it as a word of its own, and as it is spelt.
SEARCH: Final = """
SELECT hit.chat_id::text, c.title, hit.id::text, hit.role, hit.rank, to_json(hit.created_at)::text,
    substr(hit.content, greatest(1, coalesce(
        nullif(strpos(hit.content, $2), 0),
        nullif(strpos(upper(hit.content), upper($2)), 0),
        -- Folding changes lengths: about where it is.
        (coalesce(nullif(strpos(hit.folded, hit.phrase), 0), strpos(hit.folded, hit.word))::real
            * length(hit.content) / greatest(1, length(hit.folded)))::int
    ) - $10), 2 * $10)
FROM (
    SELECT m.chat_id, m.id, m.role, m.content, m.folded, m.created_at, asked.phrase, asked.words[1] AS word,
        CASE
            WHEN strpos(m.folded, asked.phrase) = 0 THEN 0
            ELSE 1 + (strpos(m.content, $2) > 0)::int + 2 * search_stands_alone(m.folded, asked.phrase)::int
        END AS rank
    FROM (
        SELECT search_fold($2) AS phrase, array(SELECT search_fold(word) FROM unnest($3::text[]) AS word) AS words
    ) asked, members JOIN messages m ON m.chat_id = members.chat_id
    WHERE members.user_id = $1 AND m.folded LIKE
        '%' || replace(replace(replace(search_fold($4), '\\', '\\\\'), '%', '\\%'), '_', '\\_') || '%'
    AND NOT EXISTS (SELECT FROM unnest(asked.words) AS word WHERE strpos(m.folded, word) = 0)
) hit JOIN chats c ON c.id = hit.chat_id
WHERE $5::int IS NULL OR (hit.rank, hit.created_at, hit.chat_id, hit.id)
    < ($5, $6::text::timestamptz, $7::uuid, $8::uuid)
ORDER BY hit.rank DESC, hit.created_at DESC, hit.chat_id DESC, hit.id DESC LIMIT $9
"""

GET_USAGE: Final = """
SELECT row_to_json(r) FROM (
    SELECT model, count(*) AS answers, sum(input_tokens)::bigint AS input_tokens,
        sum(output_tokens)::bigint AS output_tokens
    FROM usage WHERE user_id = $1 GROUP BY model ORDER BY model
) r
"""

LIST_MEMBERS: Final = """
SELECT row_to_json(r) FROM (
    SELECT chat_id, user_id, role, added_at FROM members WHERE chat_id = $1 ORDER BY role DESC, added_at, user_id
) r
"""

# --- reading: push and llm-worker -----------------------------------------------------------------------------------

GET_ACTIVE: Final = """
SELECT row_to_json(r) FROM (
    SELECT id AS generation_id, message_id, attempt, status FROM generations
    WHERE chat_id = $1 AND status IN ('requested', 'running')
) r
"""

MEMBER_IDS: Final = "SELECT user_id FROM members WHERE chat_id = $1"

MOVED: Final = """
SELECT asked.id::text, coalesce(c.version, -1) AS version
FROM unnest($1::uuid[], $2::bigint[]) AS asked(id, version) LEFT JOIN chats c ON c.id = asked.id
WHERE c.version IS DISTINCT FROM asked.version
"""

# Goes up from the prompt with ids and sizes only, until more is gathered than can be sent.
BRANCH: Final = """
WITH RECURSIVE branch AS (
    SELECT id, parent_id, octet_length(content)::bigint AS bytes, 1 AS depth
    FROM messages WHERE chat_id = $1 AND id = $2
    UNION ALL
    SELECT m.id, m.parent_id, branch.bytes + octet_length(m.content), branch.depth + 1
    FROM branch JOIN messages m ON m.chat_id = $1 AND m.id = branch.parent_id
    WHERE branch.bytes <= $3
)
SELECT row_to_json(r) FROM (
    SELECT m.role, m.content, branch.depth FROM branch JOIN messages m ON m.chat_id = $1 AND m.id = branch.id
    WHERE m.content <> '' AND m.status IN ('sent', 'complete', 'stopped', 'failed')
) r ORDER BY r.depth DESC
"""

CHAT_OF_GENERATION: Final = "SELECT chat_id::text FROM generations WHERE id = $1"

# --- the sweeper ----------------------------------------------------------------------------------------------------

UNPUBLISHED: Final = f"""
SELECT row_to_json(g) FROM (
    SELECT {_GENERATION_RECORD} FROM generations g
    WHERE g.request_seq IS NULL AND g.status IN ('requested', 'running') AND g.requested_at < $1
    ORDER BY g.requested_at LIMIT $2
) g
"""

OLDEST_REQUEST: Final = "SELECT min(requested_at) FROM generations WHERE status = 'requested'"

STOPPING: Final = """
SELECT id::text FROM generations WHERE stop_requested_at IS NOT NULL AND status IN ('requested', 'running')
UNION ALL
SELECT generation_id::text FROM deleted_chats WHERE deleted_at > $1 AND generation_id IS NOT NULL
"""

ACTIVE_SINCE: Final = f"""
SELECT row_to_json(g) FROM (
    SELECT {_GENERATION_RECORD} FROM generations g
    WHERE g.status IN ('requested', 'running')
    AND CASE g.status WHEN 'running' THEN g.claimed_at < $1 ELSE g.requested_at < $2 END
) g
"""

REQUEST_ANEW: Final = """
UPDATE generations SET request_seq = NULL, released = released + (status = 'running')::integer
WHERE status IN ('requested', 'running') AND (id, attempt) NOT IN (SELECT * FROM unnest($1::uuid[], $2::integer[]))
"""

FORGET_DELETED: Final = "DELETE FROM deleted_chats WHERE deleted_at < $1"

FORGET_REJECTED: Final = "DELETE FROM rejected_prompts WHERE rejected_at < $1"

TO_PURGE: Final = """
SELECT id::text, deleted_at FROM deleted_chats WHERE purge_at <= $1 ORDER BY purge_at LIMIT $2
"""

PURGED: Final = "UPDATE deleted_chats SET purge_at = $2 WHERE id = $1"


def _json(rows: Iterable[msgspec.Struct | dict[str, Any]]) -> str:
    return msgspec.json.encode(list(rows)).decode()


def _decode(rows: Sequence[asyncpg.Record], kind: type[T]) -> list[T]:
    return [msgspec.json.decode(row[0], type=kind) for row in rows]


class SearchRow(msgspec.Struct, frozen=True, kw_only=True):
    chat_id: str
    chat_title: str | None
    message_id: str
    role: Literal["user", "assistant"]
    rank: int
    created_at: str
    around: str


# --- changing a chat ------------------------------------------------------------------------------------------------


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A chat, and what of it a command names."""

    chat_id: str
    messages: list[str]
    users: list[str]


async def load_states(connection: Connection, named: Sequence[Named], *, with_queue: bool) -> list[State]:
    """Load what a command needs of these chats, as of one moment. Chats that do not exist are left out.

    Args:
        with_queue: Load the first queued prompt too (for commands that may end a generation).
    """
    return _decode(await connection.fetch(LOAD_STATES, _json(named), with_queue), State)


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
            rows = await connection.fetch(
                APPLY,
                _json(change.chat for change in kept),
                _json(message for change in kept for message in change.messages),
                _json(generation for change in kept for generation in change.generations),
                _json(usage for change in kept for usage in change.usage),
                _json(member for change in kept for member in change.members_added),
                _json(
                    {"chat_id": change.chat.id, "user_id": user_id}
                    for change in kept
                    for user_id in change.members_removed
                ),
            )
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


async def create_chat(
    connection: Connection,
    chat_id: str,
    *,
    owner_id: str,
    title: str | None,
    model: str | None,
    system_prompt: str | None,
    now: datetime,
) -> bool:
    """Create the chat, unless its id has been used; return whether it was created."""
    status = await connection.execute(CREATE_CHAT, chat_id, owner_id, title, model, system_prompt, now)
    return status.endswith(" 1")


async def mark_requested(connection: Connection, requests: Sequence[tuple[GenerationRecord, int]]) -> None:
    """Note the stream sequence under which each generation's request is stored."""
    rows = [
        {"id": generation.id, "request": generation.request, "request_seq": sequence}
        for generation, sequence in requests
    ]
    await connection.execute(MARK_REQUESTED, _json(rows))


# --- reading --------------------------------------------------------------------------------------------------------


async def role_of(connection: Connection, chat_id: str, user_id: str) -> Role | None:
    role: Role | None = await connection.fetchval(ROLE_OF, chat_id, user_id)
    return role


async def get_message(connection: Connection, chat_id: str, message_id: str, *, user_id: str) -> Message | None:
    """The message, if the user may read it; a prompt of the user's that was rejected, as ``rejected``."""
    row = await connection.fetchval(GET_MESSAGE, chat_id, message_id, user_id)
    if row is not None:
        return msgspec.json.decode(row, type=Message)
    rejection = await connection.fetchrow(GET_REJECTION, chat_id, message_id, user_id)
    if rejection is None:
        return None
    return rejected_message(
        chat_id=chat_id,
        message_id=message_id,
        user_id=user_id,
        code=rejection["code"],
        rejected_at=rejection["rejected_at"],
    )


async def is_handled(connection: Connection, chat_id: str, message_id: str) -> bool:
    """Whether a prompt with this id was stored or rejected."""
    return bool(await connection.fetchval(IS_HANDLED, chat_id, message_id))


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
    await connection.execute(ADD_REJECTIONS, _json(rows), now)


async def owner_of_deleted(connection: Connection, chat_id: str) -> str | None:
    owner: str | None = await connection.fetchval(OWNER_OF_DELETED, chat_id)
    return owner


async def get_chat(connection: Connection, chat_id: str, *, user_id: str | None = None) -> Chat | None:
    """The chat; with ``user_id`` only when that is one of its members."""
    row = await connection.fetchval(GET_CHAT, chat_id, user_id)
    return None if row is None else msgspec.json.decode(row, type=Chat)


async def list_chats(connection: Connection, user_id: str, *, before: BeforeChat | None, limit: int) -> list[Chat]:
    # The first page comes before everything: a condition that may be left out could not use an index.
    updated_at = LAST_TIME if before is None else msgspec.convert(before.updated_at, datetime)
    chat_id = LAST_ID if before is None else before.id
    return _decode(await connection.fetch(LIST_CHATS, user_id, updated_at, chat_id, limit), Chat)


async def list_messages(
    connection: Connection, chat_id: str, *, before: int | None, limit: int, max_bytes: int
) -> list[tuple[Message, int]]:
    """Messages with their positions, newest first; always one, then as many as fit."""
    place = LAST_POSITION if before is None else before
    rows = await connection.fetch(LIST_MESSAGES, chat_id, place, limit, max_bytes)
    return [(msgspec.json.decode(row[0], type=Message), row[1]) for row in rows]


async def messages_changed_since(
    connection: Connection, chat_id: str, version: int, *, limit: int, max_bytes: int
) -> list[Message] | None:
    """Messages that changed after ``version``, deleted ones too; None when there are more than fit."""
    count = await connection.fetchval(COUNT_CHANGED_SINCE, chat_id, version, limit + 1)
    if count > limit:
        return None
    rows = await connection.fetch(MESSAGES_CHANGED_SINCE, chat_id, version, limit, max_bytes)
    return _decode(rows, Message) if len(rows) == count else None


async def any_message_before(connection: Connection, chat_id: str, position: int) -> bool:
    return bool(await connection.fetchval(ANY_MESSAGE_BEFORE, chat_id, position))


async def search(
    connection: Connection, user_id: str, asked: Asked, *, before: BeforeHit | None, limit: int
) -> list[SearchRow]:
    """Return the messages that hold every word of ``asked``, the best match first."""
    place: tuple[int | None, str | None, str | None, str | None] = (None, None, None, None)
    if before is not None:
        place = (before.rank, before.created_at, before.chat_id, before.message_id)
    rows = await connection.fetch(SEARCH, user_id, asked.phrase, asked.words, asked.words[0], *place, limit, AROUND)
    return [
        SearchRow(
            chat_id=row[0],
            chat_title=row[1],
            message_id=row[2],
            role=row[3],
            rank=row[4],
            created_at=msgspec.json.decode(row[5], type=str),
            around=row[6],
        )
        for row in rows
    ]


async def get_usage(connection: Connection, user_id: str) -> list[TokenUsage]:
    return _decode(await connection.fetch(GET_USAGE, user_id), TokenUsage)


async def list_members(connection: Connection, chat_id: str) -> list[MemberRecord]:
    return _decode(await connection.fetch(LIST_MEMBERS, chat_id), MemberRecord)


async def get_active(connection: Connection, chat_id: str) -> GenerationRef | None:
    row = await connection.fetchval(GET_ACTIVE, chat_id)
    return None if row is None else msgspec.json.decode(row, type=GenerationRef)


async def member_ids(connection: Connection, chat_id: str) -> list[str]:
    return [row[0] for row in await connection.fetch(MEMBER_IDS, chat_id)]


async def moved(connection: Connection, versions: dict[str, int]) -> dict[str, int]:
    """Chats whose version is not the given one, with the one they have; -1: there is no such chat."""
    rows = await connection.fetch(MOVED, list(versions.keys()), list(versions.values()))
    return {row[0]: row[1] for row in rows}


async def branch(connection: Connection, chat_id: str, message_id: str, *, max_bytes: int) -> list[ContextMessage]:
    """What was said from the root to ``message_id``, oldest first; of a long branch, the newest ``max_bytes``."""
    return _decode(await connection.fetch(BRANCH, chat_id, message_id, max_bytes), ContextMessage)


async def chat_of_generation(connection: Connection, generation_id: str) -> str | None:
    chat_id: str | None = await connection.fetchval(CHAT_OF_GENERATION, generation_id)
    return chat_id


# --- the sweeper ----------------------------------------------------------------------------------------------------


async def unpublished(connection: Connection, *, before: datetime, limit: int) -> list[GenerationRecord]:
    """Active generations whose request is not known to be stored, though it was due ``before``."""
    return _decode(await connection.fetch(UNPUBLISHED, before, limit), GenerationRecord)


async def oldest_request(connection: Connection) -> datetime | None:
    """When the answer was requested that has waited longest for a worker."""
    oldest: datetime | None = await connection.fetchval(OLDEST_REQUEST)
    return oldest


async def stopping(connection: Connection, *, deleted_after: datetime) -> list[str]:
    """Generations whose workers must be told to stop."""
    return [row[0] for row in await connection.fetch(STOPPING, deleted_after)]


async def active_since(
    connection: Connection, *, claimed_before: datetime, requested_before: datetime
) -> list[GenerationRecord]:
    """Return the generations that were claimed, or that have waited for a claim, since before those moments."""
    return _decode(await connection.fetch(ACTIVE_SINCE, claimed_before, requested_before), GenerationRecord)


async def forget_deleted(connection: Connection, *, before: datetime) -> None:
    await connection.execute(FORGET_DELETED, before)


async def forget_rejected(connection: Connection, *, before: datetime) -> None:
    await connection.execute(FORGET_REJECTED, before)


async def to_purge(connection: Connection, *, now: datetime, limit: int) -> list[tuple[str, datetime]]:
    """Deleted chats that the streams are to be purged of, with when they were deleted."""
    return [(row[0], row[1]) for row in await connection.fetch(TO_PURGE, now, limit)]


async def purged(connection: Connection, chat_id: str, *, again_at: datetime | None) -> None:
    """The streams hold nothing of the chat now; ``again_at``: to be looked at once more."""
    await connection.execute(PURGED, chat_id, again_at)


async def request_anew(connection: Connection, *, ending: Sequence[tuple[str, int]]) -> None:
    """Have every answer that is due requested by the sweeper: the stream and the workers are gone (a restored backup).

    The attempts under way do not count against the limit. ``ending``: generations, and the attempts, whose end still
    comes by the stream.
    """
    await connection.execute(REQUEST_ANEW, [one for one, _ in ending], [attempt for _, attempt in ending])
