"""The plans of statements that must stay fast: generic ones, as the service has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest

from chat_store import database, repository


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await database.connect(database_url, settings=database.SESSION_SETTINGS)
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
    nodes = await _plan(connection, repository.LIST_MESSAGES, "gen_random_uuid()", "9", "50", "100000")
    conditions = [node["Index Cond"] for node in nodes if node.get("Index Name") == "messages_in_order"]
    assert len(conditions) == 1
    assert "$2" in conditions[0], "the position is looked up and not filtered"
    assert "$1" in conditions[0]


async def test_the_messages_that_a_batch_names_are_looked_up_in_their_own_chats(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    nodes = await _plan(connection, repository.LOAD_STATES, "'[]'", "true")
    conditions = [node["Index Cond"] for node in nodes if node.get("Index Name") == "messages_pkey"]
    assert any("asked.messages" in condition and "chat_id" in condition for condition in conditions), conditions


async def test_no_page_has_a_condition_that_may_be_left_out() -> None:
    for statement in (repository.LIST_CHATS, repository.LIST_MESSAGES):
        assert "IS NULL OR" not in statement
