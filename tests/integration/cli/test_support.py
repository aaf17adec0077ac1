"""The test harness itself."""

import asyncio

import asyncpg
import nats

from tests.support.databases import Databases
from tests.support.waiting import eventually


async def test_each_test_has_a_database_of_its_own(databases: Databases) -> None:
    first, second = databases.empty(), databases.empty()
    connection = await asyncpg.connect(first)
    await connection.execute("CREATE TABLE mine (number int)")
    await connection.close()
    connection = await asyncpg.connect(second)
    assert await connection.fetchval("SELECT to_regclass('mine')") is None
    await connection.close()


async def test_nats_is_there(nats_url: str, module_nats_url: str) -> None:
    for url in (nats_url, module_nats_url):
        client = await nats.connect(url)
        assert (await client.jetstream().account_info()).streams == 0
        await client.close()


async def test_eventually_waits_for_a_coroutine_and_for_assertions() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def late() -> bool:
        assert loop.time() > start + 0.05
        return loop.time() > start + 0.1

    assert await eventually(late)
