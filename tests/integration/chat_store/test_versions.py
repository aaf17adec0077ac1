"""Each PostgreSQL that the documentation names."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest

from chat_store.storage import pool
from parley.contracts import rpc
from parley_cli.embedded.postgres import MAJOR_VERSION
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import environment, migrate
from tests.support.other_postgres import OtherPostgres
from tests.support.service import run_service
from tests.support.waiting import eventually


@pytest.mark.parametrize("version", range(pool.MIN_VERSION, pool.MAX_VERSION))
async def test_an_older_supported_postgres_takes_the_schema_and_serves(
    nats_url: str, neighbour: Neighbour, version: int
) -> None:
    with OtherPostgres(version) as postgres:
        run = await asyncio.to_thread(migrate, nats_url, postgres.url)
        assert run.returncode == 0, run.stderr
        async with run_service("chat_store", environment(nats_url, postgres.url)):
            chat_id = await neighbour.chat()
            for number in range(3):
                await neighbour.say(chat_id, f"question {number}")
            for number in range(1, 4):
                await neighbour.answer(chat_id, "the answer", number=number)
            assert [one.content for one in await neighbour.messages(chat_id)][::2] == [
                f"question {n}" for n in range(3)
            ]
            found = await neighbour.ask(rpc.Search(user_id="ann", query="quest", before=None, limit=10))
            assert len(found.items) == 3
            page = await neighbour.ask(rpc.ListChats(user_id="ann"))
            assert [chat.id for chat in page.items] == [chat_id]
            assert (await neighbour.sync(chat_id)).version > 0
            await eventually(lambda: neighbour.ask(rpc.GetUsage(user_id="ann")))


async def test_the_newest_supported_postgres_is_the_one_that_all_other_tests_run_on(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert connection.get_server_version().major == pool.MAX_VERSION == int(MAJOR_VERSION)
    finally:
        await connection.close()


def test_the_documentation_names_these_versions() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    versions = re.search(r"\*\*PostgreSQL\*\* (\d+) to (\d+) is supported", page)
    assert versions is not None
    assert versions.groups() == (str(pool.MIN_VERSION), str(pool.MAX_VERSION))
