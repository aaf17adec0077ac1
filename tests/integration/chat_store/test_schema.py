"""Migrations, and refusing to run on what they did not make."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg
import pytest

from chat_store.domain.cursors import BeforeChat
from chat_store.errors import SchemaMismatch
from chat_store.storage import chats, indexes, schema
from parley.contracts import ids
from parley.contracts.streams import CONSUMERS, STREAMS
from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from parley.runtime.nats.requirements import require
from parley_cli.embedded.ports import free_port
from tests.integration.chat_store.conftest import environment, migrate
from tests.support.service import run_service
from tests.support.waiting import eventually

NEWEST = len(schema.migrations())


def test_migrating_twice_or_at_once_is_like_migrating_once(nats_url: str, empty_database_url: str) -> None:
    with ThreadPoolExecutor(3) as threads:
        runs = list(threads.map(lambda _: migrate(nats_url, empty_database_url), range(3)))
    assert [run.returncode for run in runs] == [0, 0, 0], [run.stderr for run in runs]
    assert sum("applied)" in run.stderr for run in runs) == 1
    again = migrate(nats_url, empty_database_url)
    assert again.returncode == 0
    assert "The schema is up to date\n" in again.stderr


async def test_migration_makes_the_streams(nats_url: str, database_url: str) -> None:
    assert (await asyncio.to_thread(migrate, nats_url, database_url)).returncode == 0
    nc = await connect(nats_url, name="test")
    await require(nc.jetstream(), streams=STREAMS, consumers=CONSUMERS)
    await nc.close()


async def test_migration_says_that_search_has_no_index(nats_url: str, empty_database_url: str) -> None:
    """The embedded PostgreSQL comes without the extension."""
    run = await asyncio.to_thread(migrate, nats_url, empty_database_url)
    assert run.returncode == 0
    assert "This server has no pg_trgm, so a search reads all messages of the one who searches." in run.stderr
    assert "LC_CTYPE" not in run.stderr


async def test_migration_says_that_the_locale_knows_no_case(nats_url: str, empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("CREATE DATABASE ascii TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'")
    try:
        url = urlsplit(empty_database_url)._replace(path="/ascii").geturl()
        run = await asyncio.to_thread(migrate, nats_url, url)
        assert run.returncode == 0
        assert "The locale of this database (LC_CTYPE) knows only ASCII letters" in run.stderr
    finally:
        await connection.execute("DROP DATABASE ascii WITH (FORCE)")
        await connection.close()


async def test_an_index_on_a_large_table_is_created_while_others_write(nats_url: str, database_url: str) -> None:
    used = "INSERT INTO usage VALUES (gen_random_uuid(), gen_random_uuid(), $1, 'demo', 3, 5, now())"
    one, other = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    try:
        await one.execute("; ".join(f"DROP INDEX {name}" for name in indexes.INDEXES))
        await one.execute("; ".join(f"CREATE INDEX {name} ON usage (user_id)" for name in indexes.REPLACED))
        # What was interrupted leaves an index that nobody may use.
        await one.execute("CREATE INDEX usage_by_time ON usage (user_id)")
        await one.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'usage_by_time'::regclass")
        transaction = one.transaction()
        await transaction.start()
        await one.execute(used, "ann")
        running = asyncio.create_task(asyncio.to_thread(migrate, nats_url, database_url))
        waits = """
            SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'parley-migrate' AND wait_event_type = 'Lock' AND query LIKE '%usage_by_time%'
        """
        await eventually(lambda: other.fetchval(waits), what="the index waiting for the open transaction")
        await other.execute("SET lock_timeout = '10s'")
        await other.execute(used, "ben")
        await transaction.commit()
        done = await running
        assert done.returncode == 0, done.stderr
        state = "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indexrelid::regclass::text = ANY($1)"
        found = {row[0]: row[1] for row in await one.fetch(state, [*indexes.INDEXES, *indexes.REPLACED])}
        assert found == dict.fromkeys(indexes.INDEXES, True)
        definition = "SELECT pg_get_indexdef('usage_by_time'::regclass)"
        assert "(user_id, created_at)" in await one.fetchval(definition)
    finally:
        await one.close()
        await other.close()


async def test_a_stream_that_differs_is_reported_and_left_alone(nats_url: str, database_url: str) -> None:
    nc = await connect(nats_url, name="test")
    await provision(nc, ack_wait=3)
    await nc.close()
    run = await asyncio.to_thread(migrate, nats_url, database_url)
    assert run.returncode == 3
    assert "llm-worker-requests" in run.stderr
    assert "Traceback" not in run.stderr
    assert (await asyncio.to_thread(migrate, nats_url, database_url, ACK_WAIT="3")).returncode == 0


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
async def test_a_filled_database_of_each_version_migrates(empty_database_url: str, version: int) -> None:
    connection = await asyncpg.connect(empty_database_url)
    try:
        await schema.migrate(connection, to=version)
        await connection.execute(FILL[version])
        await schema.migrate(connection)
        await schema.check(connection)
        assert await connection.fetchval("SELECT count(*) FROM messages") == 2
        assert await connection.fetchval("SELECT status FROM generations") == "requested"
    finally:
        await connection.close()


FILL = {
    1: """
        INSERT INTO chats (id, owner_id, created_at, updated_at, version, last_position)
        VALUES ('00000000-0000-7000-8000-000000000001', 'ann', now(), now(), 2, 2);
        INSERT INTO members VALUES ('00000000-0000-7000-8000-000000000001', 'ann', 'owner', now());
        INSERT INTO messages (chat_id, id, parent_id, placement, role, author_id, content, reasoning, status,
            created_at, version, position)
        VALUES
            ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000002', NULL, 'tip', 'user',
             'ann', 'question', '', 'sent', now(), 2, 1),
            ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000003',
             '00000000-0000-7000-8000-000000000002', 'fixed', 'assistant', NULL, '', '', 'pending', now(), 2, 2);
        INSERT INTO generations (id, chat_id, message_id, user_id, status, attempt, released, request, requested_at,
            created_at)
        VALUES ('00000000-0000-7000-8000-000000000004', '00000000-0000-7000-8000-000000000001',
            '00000000-0000-7000-8000-000000000003', 'ann', 'requested', 0, 0, 1, now(), now());
    """,
}
FILL[2] = f"{FILL[1]} UPDATE messages SET traceparent = '00-1-2-01'; UPDATE generations SET traceparent = '00-1-2-01';"
FILL[3] = f"""{FILL[2]}
    INSERT INTO rejected_prompts VALUES ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000005',
        'bob', 'not_a_member', now());
    INSERT INTO deleted_chats (id, owner_id, deleted_at)
    VALUES ('00000000-0000-7000-8000-000000000006', 'ann', now());
"""
FILL |= dict.fromkeys(range(4, 8), FILL[3])
FILL[8] = f"""{FILL[3]}
    INSERT INTO users (id, created_at, last_seen_at) VALUES ('ann', now(), now());
    INSERT INTO sessions VALUES ('00000000-0000-7000-8000-000000000007', 'ann', 'digest', 'guest', '', '', now(), now(),
        60, now() + interval '60 s', now() + interval '1 day');
    INSERT INTO api_keys VALUES ('00000000-0000-7000-8000-000000000008', 'ann', 'key', 'pk_1', 'digest', '{{read}}',
        now());
"""
FILL[9] = f"""{FILL[8]}
    INSERT INTO members VALUES ('00000000-0000-7000-8000-000000000001', 'ben', 'reader', now(), now());
"""
FILL[10] = f"""{FILL[9]}
    INSERT INTO prompt_rates VALUES ('ann', ARRAY[now()]);
    INSERT INTO prompt_admissions VALUES ('00000000-0000-7000-8000-000000000001',
        '00000000-0000-7000-8000-000000000002', 'ann', 8, now());
    INSERT INTO usage VALUES ('00000000-0000-7000-8000-000000000009', '00000000-0000-7000-8000-000000000001', 'ann',
        'demo', 3, 5, now(), true, 0.5);
"""
FILL[11] = f"""{FILL[10]}
    UPDATE users SET erase_requested_at = now(), erase_at = now();
    INSERT INTO stream_purges VALUES ('00000000-0000-7000-8000-000000000001', now(), now());
    INSERT INTO audit_outbox VALUES ('00000000-0000-7000-8000-000000000009', '{{}}');
"""
FILL[12] = f"""{FILL[11]}
    INSERT INTO share_links VALUES ('00000000-0000-7000-8000-00000000000a', '00000000-0000-7000-8000-000000000001',
        'digest', false, '00000000-0000-7000-8000-000000000003', now());
"""
FILL[13] = f"""{FILL[12]}
    INSERT INTO invitations VALUES ('00000000-0000-7000-8000-000000000001', 'cid', 'writer', 'ann', now());
"""
FILL[14] = f"""{FILL[13]}
    UPDATE messages SET completion = '{{"parameters":{{"seed":1}}}}' WHERE role = 'user';
    UPDATE messages SET attempt = 1, tool_calls = '[{{"id":"call_1","name":"look"}}]' WHERE role = 'assistant';
    INSERT INTO tool_rounds SELECT id, 0, '{{"text":"Let me look."}}' FROM generations;
"""
FILL[15] = f"""{FILL[14]}
    UPDATE sessions SET provider_session = 'sid';
    INSERT INTO used_logout_tokens VALUES ('digest', now());
"""
FILL[16] = f"""{FILL[15]}
    UPDATE tool_rounds SET decisions = '{{"call_1":true}}';
"""
"""What a database of each version holds when it is upgraded; a new version brings a line."""


async def test_each_version_has_a_filled_database_to_migrate() -> None:
    assert list(FILL) == list(range(1, NEWEST + 1))


async def test_a_step_that_fails_leaves_the_version_before_it(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [*schema.migrations(), schema.Migration(NEWEST + 1, "broken", "CREATE TABLE half (); SELECT nonsense", 1)]
    monkeypatch.setattr(schema, "migrations", lambda: steps)
    connection = await asyncpg.connect(empty_database_url)
    try:
        with pytest.raises(asyncpg.UndefinedColumnError):
            await schema.migrate(connection)
        assert await connection.fetchval("SELECT max(version) FROM schema_versions") == NEWEST
        assert await connection.fetchval("SELECT to_regclass('half')") is None
    finally:
        await connection.close()


async def test_it_refuses_to_start_on_another_schema(nats_url: str, empty_database_url: str, database_url: str) -> None:
    assert (await asyncio.to_thread(migrate, nats_url, database_url)).returncode == 0
    connection = await asyncpg.connect(database_url)
    add = "INSERT INTO schema_versions (version, name, runs_with) VALUES ($1, 'tomorrow', $2)"
    await connection.execute(add, NEWEST + 1, NEWEST)
    await schema.check(connection)
    assert await schema.migrate(connection) == [], "a newer schema that this program still runs on is left alone"
    await connection.execute(add, NEWEST + 2, NEWEST + 1)
    with pytest.raises(SchemaMismatch):
        await schema.migrate(connection)
    await connection.close()
    for url, sentence in (
        (empty_database_url, f"schema version 0, and this program needs {NEWEST}. Run `parley migrate`."),
        (database_url, f"schema version {NEWEST + 2}, and this program knows only {NEWEST}."),
    ):
        await _refuses(environment(nats_url, url), 3, sentence)
    assert (await asyncio.to_thread(migrate, nats_url, database_url)).returncode == 3


async def test_it_refuses_to_start_without_streams_or_settings(nats_url: str, database_url: str) -> None:
    await _refuses(environment(nats_url, database_url), 3, "The stream CHAT does not exist. Run `parley migrate`.")
    await _refuses({"NATS_URL": nats_url}, 2, "DATABASE_URL")


async def test_it_waits_for_a_migration_that_comes_later(nats_url: str, empty_database_url: str) -> None:
    settings = environment(nats_url, empty_database_url) | {"MIGRATION_WAIT": "60"}
    async with run_service("chat_store", settings, ready=False) as service:
        await eventually(lambda: "Waiting up to 60 s for the migration: The database has" in service.log, deadline=30)
        assert service.get("/healthz")[0] == 200
        assert service.get("/readyz")[0] == 503
        assert (await asyncio.to_thread(migrate, nats_url, empty_database_url)).returncode == 0
        await asyncio.to_thread(service.wait_ready)


async def test_it_waits_for_a_role_that_comes_later(nats_url: str, database_url: str, empty_database_url: str) -> None:
    assert (await asyncio.to_thread(migrate, nats_url, database_url)).returncode == 0
    missing = urlsplit(database_url)._replace(path="/made_later").geturl()
    settings = environment(nats_url, missing) | {"MIGRATION_WAIT": "60"}
    async with run_service("chat_store", settings, ready=False) as service:
        await eventually(lambda: "Not ready: Postgres has no such database" in service.log, deadline=30)
        connection = await asyncpg.connect(empty_database_url)
        await connection.execute("CREATE DATABASE made_later")
        try:
            assert (await asyncio.to_thread(migrate, nats_url, missing)).returncode == 0
            await asyncio.to_thread(service.wait_ready)
            await asyncio.to_thread(service.stop)
        finally:
            await connection.execute("DROP DATABASE made_later WITH (FORCE)")
            await connection.close()


async def test_it_does_not_wait_for_an_older_schema(nats_url: str, database_url: str) -> None:
    assert (await asyncio.to_thread(migrate, nats_url, database_url)).returncode == 0
    connection = await asyncpg.connect(database_url)
    add = "INSERT INTO schema_versions (version, name, runs_with) VALUES ($1, 'tomorrow', $1)"
    await connection.execute(add, NEWEST + 1)
    await connection.close()
    settings = environment(nats_url, database_url) | {"MIGRATION_WAIT": "600"}
    await _refuses(settings, 3, f"this program knows only {NEWEST}.")


async def test_migration_says_who_does_not_answer(nats_url: str, database_url: str) -> None:
    away = f"127.0.0.1:{free_port()}"
    for nats, postgres, name in (
        (nats_url, f"postgresql://nobody:none@{away}/none", "Postgres"),
        (f"nats://{away}", database_url, "NATS"),
    ):
        run = await asyncio.to_thread(migrate, nats, postgres, MIGRATE_TIMEOUT="1")
        assert run.returncode == 1
        assert f"{name} does not answer" in run.stderr
        assert run.stderr.splitlines()[-1].startswith(f"chat-store: {name} did not answer within 1 s. ")
        assert "Traceback" not in run.stderr


async def _refuses(settings: dict[str, str], code: int, sentence: str) -> None:
    async with run_service("chat_store", settings, ready=False) as service:
        assert await asyncio.to_thread(service.wait) == code
        assert sentence in service.log


async def test_every_membership_knows_when_its_chat_changed_last_whoever_writes(empty_database_url: str) -> None:
    """Also a program that does not know the column (before migration 5)."""
    connection = await asyncpg.connect(empty_database_url)
    chat = "INSERT INTO chats (id, owner_id, created_at, updated_at, version) VALUES ($1, 'ann', now(), $2, 1)"
    member = "INSERT INTO members (chat_id, user_id, role, added_at) VALUES ($1, $2, $3, now())"
    old, new = ids.new_id(), ids.new_id()
    times = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    try:
        await schema.migrate(connection, to=4)
        await connection.execute(chat, old, times[0])
        await connection.execute(member, old, "ann", "owner")
        await schema.migrate(connection)
        await connection.execute(chat, new, times[1])
        await connection.execute(member, new, "ann", "owner")
        await connection.execute(member, new, "ben", "member")

        async def order() -> list[str]:
            page = await chats.list_chats(connection, "ann", before=BeforeChat.first_page(), limit=9)
            later = [BeforeChat(one.updated_at, one.id) for one in page]
            for place, before in enumerate(later, 1):
                assert await chats.list_chats(connection, "ann", before=before, limit=9) == page[place:]
            return [one.id for one in page]

        assert await order() == [new, old]
        await connection.execute("UPDATE chats SET updated_at = $2, version = 2 WHERE id = $1", old, times[2])
        assert await order() == [old, new]
        await connection.execute("UPDATE chats SET updated_at = $1", times[0])
        assert await order() == sorted([old, new], reverse=True)
        changed = await connection.fetch("SELECT user_id, changed_at FROM members WHERE chat_id = $1", new)
        assert {row["user_id"]: row["changed_at"] for row in changed} == {"ann": times[0], "ben": times[0]}
    finally:
        await connection.close()
