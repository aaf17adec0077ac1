"""The plans of statements that must stay fast: generic ones, as the service has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest

from chat_store.storage import changes, chats, messages, pool


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await pool.connect(database_url, settings=pool.SESSION_SETTINGS)
    yield connection
    await connection.close()


async def _plan(connection: asyncpg.Connection[asyncpg.Record], statement: str, *values: str) -> list[dict[str, Any]]:
    """The nodes of the plan that the statement has whatever its parameters are."""
    await connection.execute(f"PREPARE planned AS {statement}")
    text = await connection.fetchval(f"EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE planned({', '.join(values)})")
    nodes = [msgspec.json.decode(text)[0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


async def test_a_page_of_messages_begins_in_the_index(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    nodes = await _plan(connection, messages.LIST_MESSAGES, "gen_random_uuid()", "9", "50", "100000")
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
    await connection.execute(f"PREPARE page AS {chats.LIST_CHATS}")
    read = await connection.fetchval(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE page('ann', now(), gen_random_uuid(), 50)"
    )
    plan = msgspec.json.decode(read)[0]["Plan"]
    assert plan["Actual Rows"] == 50
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 1000


async def test_the_messages_that_a_batch_names_are_looked_up_in_their_own_chats(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    nodes = await _plan(connection, changes.LOAD_STATES, "'[]'", "true")
    conditions = [node["Index Cond"] for node in nodes if node.get("Index Name") == "messages_pkey"]
    assert any("asked.messages" in condition and "chat_id" in condition for condition in conditions), conditions


async def test_no_page_has_a_condition_that_may_be_left_out() -> None:
    for statement in (chats.LIST_CHATS, messages.LIST_MESSAGES):
        assert "IS NULL OR" not in statement
