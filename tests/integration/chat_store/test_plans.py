"""The plans of statements that must stay fast: generic ones, as the service has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from chat_store.events.erasure import FIRST_ID
from chat_store.storage import changes, chats, limits, messages, pool, usage
from chat_store.storage.administration import erasure
from chat_store.storage.identity import sessions, users


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await pool.connect(database_url, settings=pool.SESSION_SETTINGS)
    yield connection
    await connection.close()


async def _plan(connection: asyncpg.Connection[asyncpg.Record], statement: str, *values: str) -> list[dict[str, Any]]:
    """The nodes of the plan that the statement has whatever its parameters are."""
    await connection.execute(f"PREPARE planned AS {statement}")
    text = await connection.fetchval(f"EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE planned({', '.join(values)})")
    return _nodes(msgspec.json.decode(text)[0]["Plan"])


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    nodes = [plan]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


async def _run(connection: asyncpg.Connection[asyncpg.Record], statement: str, *values: str) -> tuple[int, int]:
    """Carry the statement out; return how many rows it returned or changed, and how many blocks it read."""
    await connection.execute(f"PREPARE planned AS {statement}")
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE planned({', '.join(values)})")
    await connection.execute("DEALLOCATE planned")
    plan = msgspec.json.decode(text)[0]["Plan"]
    changed = plan["Plans"][0] if plan["Node Type"] == "ModifyTable" else plan
    # A part that changes rows runs after the rest, and is counted by itself.
    return changed["Actual Rows"], max(node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in _nodes(plan))


async def test_guests_are_removed_in_batches_that_do_not_read_all_those_who_stay(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    await connection.execute(
        """
        INSERT INTO users (id, created_at, last_seen_at)
        SELECT number::text, now(), now() - interval '9 days' + number * interval '1 second'
        FROM generate_series(1, 20000) number;
        INSERT INTO chats (id, owner_id, created_at, updated_at, version)
        SELECT lpad(to_hex(number), 32, '0')::uuid, number::text, now(), now(), 1 FROM generate_series(1, 20000) number;
        INSERT INTO members (chat_id, user_id, role, added_at) SELECT id, owner_id, 'owner', now() FROM chats;
        DELETE FROM members WHERE user_id IN ('100', '20000');
        ANALYZE;
        """
    )
    unseen_since = datetime.now(UTC) - timedelta(days=1)
    values = ("now() - interval '1 day'", "'-infinity'", "''", "200")
    _, blocks = await _run(connection, users.FORGET_GUESTS, *values)
    assert blocks < 5000
    after: tuple[datetime, str] | None = users.LONGEST_AGO
    batches = 0
    while after is not None:
        after = await users.forget_guests(connection, unseen_since=unseen_since, after=after, limit=5000)
        batches += 1
    assert batches == 4
    assert await connection.fetchval("SELECT count(*) FROM users") == 19998


async def test_a_page_of_messages_begins_in_the_index(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    nodes = await _plan(connection, messages.LIST_MESSAGES, "gen_random_uuid()", "9", "50", "100000", "true")
    conditions = [node["Index Cond"] for node in nodes if node.get("Index Name") == "messages_in_order"]
    assert len(conditions) == 1
    assert "$2" in conditions[0], "the position is looked up and not filtered"
    assert "$1" in conditions[0]


async def test_a_page_of_chats_is_read_from_the_index_and_not_sorted_out_of_all(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    values = ("'ann'", "now()", "gen_random_uuid()", "50")
    nodes = await _plan(connection, chats.LIST_CHATS, *values)
    (scan,) = [node for node in nodes if node.get("Index Name") == "members_in_order"]
    assert "$1" in scan["Index Cond"]
    assert "$2" in scan["Index Cond"], "where the page begins is looked up and not filtered"
    (limit,) = [node for node in nodes if node["Node Type"] == "Limit"]
    assert limit["Plans"][0]["Node Type"] in ("Index Scan", "Index Only Scan"), "what is sorted is a page"


async def test_a_page_of_chats_costs_a_page_however_many_there_are(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    await connection.execute(
        """
        INSERT INTO chats (id, owner_id, created_at, updated_at, version)
        SELECT gen_random_uuid(), 'ann', now(), now() - number * interval '1 minute', 1
        FROM generate_series(1, 20000) number;
        INSERT INTO members (chat_id, user_id, role, added_at) SELECT id, 'ann', 'owner', now() FROM chats;
        ANALYZE;
        """
    )
    rows, blocks = await _run(connection, chats.LIST_CHATS, "'ann'", "now()", "gen_random_uuid()", "50")
    assert rows == 50
    assert blocks < 1000


async def test_a_page_of_old_chats_costs_a_page_however_many_there_are(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    await connection.execute(
        """
        INSERT INTO chats (id, owner_id, created_at, updated_at, version)
        SELECT gen_random_uuid(), 'ann', now(), now() - interval '2 days', 1 FROM generate_series(1, 20000);
        ANALYZE;
        """
    )
    first = f"'{FIRST_ID}'"
    rows, blocks = await _run(connection, erasure.OLD_CHATS, first, "now() - interval '1 day'", "20")
    assert rows == 20
    assert blocks < 100


async def test_ended_sessions_are_removed_without_reading_the_others(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    await connection.execute(
        """
        INSERT INTO users (id, created_at, last_seen_at) VALUES ('ann', now(), now());
        INSERT INTO sessions (id, user_id, secret_digest, method, address, user_agent, created_at, last_used_at,
            idle_seconds, expires_at, ends_at)
        SELECT lpad(to_hex(number), 32, '0')::uuid, 'ann', number::text, 'guest', '', '', now(), now(), 60,
            now() + (number - 600) * interval '1 minute', now()
        FROM generate_series(1, 20000) number;
        ANALYZE;
        """
    )
    rows, blocks = await _run(connection, sessions.FORGET_ENDED, "now()", "50")
    assert rows == 50
    assert blocks < 200


async def test_the_sessions_that_a_provider_ends_are_looked_up(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    by_session = await _plan(connection, sessions.END_OF_PROVIDER_SESSION, "'issuer'", "'sid'")
    assert any(node.get("Index Name") == "sessions_by_provider_session" for node in by_session)
    await connection.execute("DEALLOCATE planned")
    by_subject = await _plan(connection, sessions.END_OF_SUBJECT, "'issuer'", "'subject'", "NULL")
    found = {node.get("Index Name") for node in by_subject}
    assert {"users_external", "sessions_by_user"} <= found, found


async def test_the_messages_that_a_batch_names_are_looked_up_in_their_own_chats(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    nodes = await _plan(connection, changes.LOAD_STATES, "'[]'", "true")
    conditions = [node["Index Cond"] for node in nodes if node.get("Index Name") == "messages_pkey"]
    assert any("asked.messages" in condition and "chat_id" in condition for condition in conditions), conditions


async def test_what_limits_ask_costs_what_they_count_however_much_was_sent_and_used_before(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    await connection.execute(
        """
        INSERT INTO chats (id, owner_id, created_at, updated_at, version)
        SELECT gen_random_uuid(), 'ann', now(), now(), 1 FROM generate_series(1, 2000);
        INSERT INTO messages (chat_id, id, placement, role, author_id, content, reasoning, status, created_at, version,
            position)
        SELECT id, gen_random_uuid(), 'tip', 'user', 'ann', 'hello', '',
            CASE WHEN number = 10 AND id < '02000000-0000-0000-0000-000000000000' THEN 'queued' ELSE 'sent' END,
            now(), 1, number
        FROM chats, generate_series(1, 10) number;
        INSERT INTO generations (id, chat_id, message_id, user_id, status, attempt, released, request, requested_at,
            created_at, ended_at)
        SELECT gen_random_uuid(), chat_id, id, 'ann', 'complete', 1, 0, 1, now(), now(), now() FROM messages;
        INSERT INTO usage (generation_id, chat_id, user_id, model, input_tokens, output_tokens, created_at)
        SELECT gen_random_uuid(), gen_random_uuid(), 'ann', 'demo', 1, 1, now() - number * interval '1 hour'
        FROM generate_series(1, 20000) number;
        ANALYZE;
        """
    )
    for statement, *values in (
        (limits.USERS_WAITING, "100"),
        (limits.NEXT_WAITING, "'ann'"),
        (limits.COUNT_RUNNING, "'ann'"),
        (limits.GET_ACCOUNT, "'ann'", "now() - interval '1 day'"),
        (usage.USAGE_BY_DAY, "'ann'", "now() - interval '1 day'", "now()"),
    ):
        _, blocks = await _run(connection, statement, *values)
        assert blocks < 100, statement


async def test_what_runs_and_waits_is_looked_up_also_when_statistics_know_of_none(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    """Of a large table the statistics hardly ever know of the few rows that are active."""
    await connection.execute(
        """
        INSERT INTO chats (id, owner_id, created_at, updated_at, version)
        SELECT lpad(to_hex(number), 32, '0')::uuid, 'ann', now(), now(), 1 FROM generate_series(1, 10000) number;
        INSERT INTO messages (chat_id, id, placement, role, author_id, content, reasoning, status, created_at, version,
            position)
        SELECT id, gen_random_uuid(), 'tip', 'user', 'ann', 'hello', '', 'sent', now(), 1, number
        FROM chats, generate_series(1, 5) number;
        INSERT INTO generations (id, chat_id, message_id, user_id, status, attempt, released, request, requested_at,
            created_at, ended_at)
        SELECT id, chat_id, id, 'ann', 'complete', 1, 0, 1, now(), now(), now() FROM messages;
        """
    )
    await connection.execute("VACUUM ANALYZE")
    # Not committed, so that no analysis in the background sees it.
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        """
        INSERT INTO generations (id, chat_id, message_id, user_id, status, attempt, released, request, requested_at,
            created_at)
        SELECT chat_id, chat_id, id, 'ann', 'running', 1, 0, 1, now(), now() FROM messages
        WHERE position = 1 ORDER BY chat_id LIMIT 5000;
        INSERT INTO messages (chat_id, id, placement, role, author_id, content, reasoning, status, created_at, version,
            position)
        SELECT id, gen_random_uuid(), 'tip', 'user', 'ann', 'hello', '', 'queued', now(), 1, 6 FROM chats
        ORDER BY id DESC LIMIT 1000;
        """
    )
    named = """'[{"chat_id": "00000000-0000-0000-0000-0000000007d0", "messages": [], "users": []}]'"""
    rows, blocks = await _run(connection, changes.LOAD_STATES, named, "true")
    assert rows == 1
    assert blocks < 100
    for statement, value in ((limits.USERS_WAITING, "100"), (limits.NEXT_WAITING, "'ann'")):
        rows, blocks = await _run(connection, statement, value)
        assert rows == 1
        assert blocks < 10_000, statement
    await transaction.rollback()


async def test_no_page_has_a_condition_that_may_be_left_out() -> None:
    for statement in (chats.LIST_CHATS, messages.LIST_MESSAGES):
        assert "IS NULL OR" not in statement
