"""Outages that are no crash: Postgres refuses, hangs or is behind a pooler; NATS lacks a stream.

While one lasts, nothing that was accepted is given up, and ``/readyz`` and the log say what it is, once. Afterwards all
goes on.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest

from parley.contracts import rpc
from parley.contracts.streams import CHAT_STORE_PROMPTS
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from parley_cli.embedded.ports import LOOPBACK
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import StartStore, migrate
from tests.support.databases import Databases
from tests.support.pausing import pause
from tests.support.pgbouncer import PgBouncer
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually

TIMEOUT_OF_PEOPLE = 1
"""Seconds that a statement of a person may take, where an operator limits them."""


@asynccontextmanager
async def _role(databases: Databases, url: str) -> AsyncIterator[tuple[str, str]]:
    """A role of its own for the database, as a service has one; yields its name and the URL with it."""
    database = urlsplit(url).path[1:]
    role = f"role_{database}"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
        await connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    finally:
        await connection.close()
    yield role, f"postgresql://{role}:right@{LOOPBACK}:{databases.server.port}/{database}"


REFUSALS = {
    "28P01": (
        "ALTER ROLE {role} PASSWORD 'other'",
        "ALTER ROLE {role} PASSWORD 'right'",
        "Postgres refuses the login",
    ),
    "28000": ("ALTER ROLE {role} NOLOGIN", "ALTER ROLE {role} LOGIN", "Postgres refuses the login"),
    "3D000": (
        "ALTER DATABASE {database} RENAME TO {database}_elsewhere",
        "ALTER DATABASE {database}_elsewhere RENAME TO {database}",
        "Postgres has no such database",
    ),
    "53300": (
        "ALTER ROLE {role} CONNECTION LIMIT 0",
        "ALTER ROLE {role} CONNECTION LIMIT -1",
        "Postgres takes no more connections",
    ),
    "55000": (
        "ALTER DATABASE {database} ALLOW_CONNECTIONS false",
        "ALTER DATABASE {database} ALLOW_CONNECTIONS true",
        "Postgres refuses (SQLSTATE 55000",
    ),
    # As a standby is after a failover.
    "25006": (
        "ALTER ROLE {role} SET default_transaction_read_only = on",
        "ALTER ROLE {role} RESET default_transaction_read_only",
        "Postgres cannot be written: it is a standby",
    ),
}


@pytest.mark.parametrize("state", REFUSALS)
async def test_a_refused_login_is_an_outage_and_nobodys_message_is_given_up(
    start_store: StartStore, neighbour: Neighbour, databases: Databases, database_url: str, state: str
) -> None:
    refuse, admit, sentence = REFUSALS[state]
    operator = await asyncpg.connect(databases.server.url)
    try:
        async with (
            _role(databases, database_url) as (role, url),
            start_store(DATABASE_URL=url, LOG_LEVEL="INFO") as store,
        ):
            names = {"role": role, "database": urlsplit(database_url).path[1:]}
            chat_id = await neighbour.chat()
            await neighbour.say(chat_id)
            claimed = await neighbour.claimed(await neighbour.request_for(chat_id))

            await _refuse(operator, refuse.format(**names), names["database"])
            end = await neighbour.finish(claimed, "said during the outage")
            later = await neighbour.say(chat_id, "later")
            await eventually(lambda: sentence in store.get("/readyz")[1])
            consumer = await neighbour.js.consumer_info("CHAT", "chat-store-finished")
            assert consumer.num_ack_pending == 1
            assert store.get("/healthz")[0] == 200

            await operator.execute(admit.format(**names))
            await eventually(lambda: store.get("/readyz")[0] == 200, deadline=30)
            await _stored(neighbour, chat_id, end.message_id, "said during the outage")
            await _stored(neighbour, chat_id, later, "later")
            assert (await neighbour.js.stream_info("DEAD_LETTERS")).state.messages == 0
            await eventually(lambda: store.log.count(f"Not ready: {sentence}") == 1)
            await eventually(lambda: store.log.count("Ready again") == 1)
            assert len(store.log.splitlines()) < 20
    finally:
        await operator.close()


async def test_timeouts_that_are_set_for_people_do_not_end_its_statements(
    start_store: StartStore, neighbour: Neighbour, databases: Databases, database_url: str
) -> None:
    operator = await asyncpg.connect(databases.server.url)
    try:
        async with _role(databases, database_url) as (role, url):
            await operator.execute(f"ALTER ROLE {role} SET statement_timeout = {TIMEOUT_OF_PEOPLE * 1000}")
            await operator.execute(f"ALTER ROLE {role} SET lock_timeout = {TIMEOUT_OF_PEOPLE * 1000}")
            async with start_store(DATABASE_URL=url) as store:
                chat_id = await neighbour.chat()
                async with _locked(database_url, "messages"):
                    message_id = await neighbour.say(chat_id, "hello")
                    await eventually(lambda: _waits_for_a_lock(operator, role, 2 * TIMEOUT_OF_PEOPLE), deadline=30)
                await _stored(neighbour, chat_id, message_id, "hello")
                assert "timeout" not in store.log
    finally:
        await operator.close()


@asynccontextmanager
async def _locked(database_url: str, table: str) -> AsyncIterator[None]:
    """Keep everyone else from ``table``."""
    holder = await asyncpg.connect(database_url)
    try:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await holder.close()


async def _waits_for_a_lock(operator: asyncpg.Connection[asyncpg.Record], role: str, seconds: float) -> bool:
    """Whether a statement of chat-store has waited for a lock as long as that."""
    waiting: bool = await operator.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM pg_stat_activity
            WHERE usename = $1 AND wait_event_type = 'Lock'
                AND query_start < clock_timestamp() - make_interval(secs => $2)
        )
        """,
        role,
        seconds,
    )
    return waiting


async def _refuse(operator: asyncpg.Connection[asyncpg.Record], statement: str, database: str) -> None:
    """Run ``statement`` and end the sessions that it would leave; some statements need them gone first."""

    async def refused() -> bool:
        await operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database)
        try:
            await operator.execute(statement)
        except asyncpg.ObjectInUseError:
            return False
        await operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database)
        return True

    await eventually(refused, deadline=30, every=0.0)


async def _stored(neighbour: Neighbour, chat_id: str, message_id: str, content: str) -> None:
    async def is_stored() -> bool:
        try:
            found = await neighbour.message(chat_id, message_id)
        except (RpcRefused, BusUnavailable):
            return False
        return found is not None and found.content == content

    await eventually(is_stored, deadline=30, what=f"{content!r} being stored")


async def test_too_many_connections_at_the_start_are_reported_and_waited_out(
    start_store: StartStore, databases: Databases, database_url: str
) -> None:
    operator = await asyncpg.connect(databases.server.url)
    try:
        async with _role(databases, database_url) as (role, url):
            await operator.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
            store = start_store(DATABASE_URL=url, LOG_LEVEL="INFO")
            store.wait_on_entering = False
            async with store:
                await eventually(lambda: "takes no more connections" in store.get("/readyz")[1])
                assert "nats" not in store.get("/readyz")[1]
                await operator.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
                await asyncio.to_thread(store.wait_ready)
                await eventually(lambda: store.log.count("takes no more connections") == 1)
    finally:
        await operator.close()


async def test_postgres_that_hangs_is_reported_in_sentences_without_a_traceback(
    start_store: StartStore, neighbour: Neighbour, databases: Databases
) -> None:
    async with start_store(LOG_LEVEL="INFO", DATABASE_COMMAND_TIMEOUT="1", DATABASE_ACQUIRE_TIMEOUT="1") as store:
        chat_id = await neighbour.chat()
        message_id = await neighbour.say(chat_id, "before")
        await _stored(neighbour, chat_id, message_id, "before")
        with _paused(databases):
            message_id = await neighbour.say(chat_id, "meanwhile")
            asked = [asyncio.create_task(neighbour.ask(rpc.GetChat(user_id="ann", chat_id=chat_id))) for _ in range(30)]
            for answer in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(answer, RpcRefused | BusUnavailable)
            await eventually(lambda: "Postgres does not answer in time" in store.get("/readyz")[1])
            assert "nats" not in store.get("/readyz")[1]
        await _stored(neighbour, chat_id, message_id, "meanwhile")
        await eventually(lambda: store.get("/readyz")[0] == 200)
        assert "never retrieved" not in store.log
        assert "()" not in store.log


class _paused:  # noqa: N801  # a context manager
    """Stop every process of PostgreSQL for a while."""

    def __init__(self, databases: Databases) -> None:
        # The server is a child of what guards it, and each session is a child of the server.
        self._guard = psutil.Process(databases.server.process.pid)

    def __enter__(self) -> None:
        self._processes = [self._guard, *self._guard.children(recursive=True)]
        pause(*(process.pid for process in self._processes))

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("ignored", ["", "plan_cache_mode,jit,enable_seqscan,idle_session_timeout"])
async def test_through_pgbouncer_in_session_mode_it_serves_and_a_paused_leader_is_replaced(
    start_store: StartStore, neighbour: Neighbour, database_url: str, tmp_path: Path, nats_url: str, ignored: str
) -> None:
    with PgBouncer(tmp_path / "pgbouncer", database_url, mode="session", ignored=ignored) as pooler:
        run: subprocess.CompletedProcess[str] = await asyncio.to_thread(migrate, nats_url, pooler.url)
        assert run.returncode == 0, run.stderr
        async with start_store(DATABASE_URL=pooler.url) as first, start_store(DATABASE_URL=pooler.url) as second:
            leader = await eventually(lambda: next((one for one in (first, second) if _leads(one)), None))
            assert leader is not None
            chat_id = await neighbour.chat()
            await _stored(neighbour, chat_id, await neighbour.say(chat_id, "one"), "one")
            leader.pause()
            try:
                other = second if leader is first else first
                await eventually(lambda: _leads(other), deadline=15)
                await neighbour.say(chat_id, "two")
            finally:
                leader.signal(signal.SIGCONT)
            await eventually(lambda: not _leads(leader), deadline=15)


def _leads(store: ServiceProcess) -> bool:
    return "parley_chat_store_leader 1.0" in store.get("/metrics")[1]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_that_shares_sessions_is_refused_in_one_sentence(
    start_store: StartStore, database_url: str, tmp_path: Path, nats_url: str, mode: str
) -> None:
    with PgBouncer(tmp_path / "pgbouncer", database_url, mode=mode) as pooler:
        store = start_store(DATABASE_URL=pooler.url, LOG_LEVEL="INFO")
        store.wait_on_entering = False
        async with store:
            assert await asyncio.to_thread(store.wait) == 1
            assert store.log.splitlines()[-1].startswith(
                "chat-store: DATABASE_URL leads to a pooler that shares sessions"
            )
            assert len(store.log.splitlines()) == 1
        run: subprocess.CompletedProcess[str] = await asyncio.to_thread(migrate, nats_url, pooler.url)
        assert run.returncode == 1
        assert "pool_mode = session" in run.stderr


MISSING = {
    "stream": ("CHAT", None, "The stream CHAT does not exist. Run `parley migrate`."),
    "consumer": (
        "CHAT",
        CHAT_STORE_PROMPTS.name,
        "The consumer chat-store-prompts of CHAT does not exist. Run `parley migrate`.",
    ),
}


@pytest.mark.parametrize("missing", MISSING)
async def test_a_stream_or_consumer_that_is_gone_is_named_and_history_can_be_read(
    start_store: StartStore, neighbour: Neighbour, nats_url: str, database_url: str, missing: str
) -> None:
    stream, consumer, sentence = MISSING[missing]
    async with start_store(LOG_LEVEL="INFO") as store:
        chat_id = await neighbour.chat()
        await _stored(neighbour, chat_id, await neighbour.say(chat_id, "before"), "before")
        await neighbour.answer(chat_id)
        if consumer is None:
            await neighbour.js.delete_stream(stream)
        else:
            await neighbour.js.delete_consumer(stream, consumer)
        await eventually(lambda: sentence in store.get("/readyz")[1], deadline=30)
        assert store.get("/readyz")[0] == 503
        assert [message.content for message in await neighbour.messages(chat_id)] == ["before", "an answer"]

        run = await asyncio.to_thread(migrate, nats_url, database_url)
        assert run.returncode == 0, run.stderr
        await eventually(lambda: store.get("/readyz")[0] == 200, deadline=30)
        await _stored(neighbour, chat_id, await neighbour.say(chat_id, "after"), "after")
        await eventually(lambda: store.log.count(f"Not ready: {sentence}") == 1)
        await eventually(lambda: store.log.count("Ready again: jetstream") == 1)
