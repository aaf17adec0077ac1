"""Erasing a user: what is removed, what is emptied, what stays."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import nats.js.errors
import pytest

from chat_store.storage.administration.erasure import ERASED_USER
from parley.contracts import ids, rpc, subjects
from parley.contracts.access.audit import AuditEvent
from parley.contracts.access.identity import (
    CreateApiKey,
    GetUser,
    ListApiKeys,
    ListSessions,
    StartSession,
    UpdateUser,
    digest,
)
from parley.contracts.completion import CompletionRequest, ContextMessage, Span, TextPart, ToolCall, ToolRound
from parley.runtime.nats.errors import RpcRefused
from parley_cli.embedded.postgres import postgres_program
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import StartStore, migrate
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually

SECRET = "xylophone"


@pytest.fixture
async def connection(
    shared_store: ServiceProcess, module_database_url: str
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(module_database_url)
    yield connection
    await connection.close()


async def new_user(store: Neighbour) -> str:
    """A guest with a session and a key."""
    user_id = ids.new_id()
    await store.ask(
        StartSession(
            session_id=ids.new_id(),
            secret_digest=digest(ids.new_id()),
            new_user_id=user_id,
            method="guest",
            idle_seconds=60,
            absolute_seconds=60,
        )
    )
    await store.ask(
        CreateApiKey(
            user_id=user_id,
            key_id=ids.new_id(),
            name="a key",
            prefix=f"pk_{user_id[-8:]}",
            secret_digest=digest("x"),
            scopes=("read",),
        )
    )
    return user_id


async def erase(store: Neighbour, connection: asyncpg.Connection[asyncpg.Record], user_id: str) -> None:
    """Erase, and wait until the first round is complete."""
    await store.ask(rpc.EraseUser(user_id=user_id, actor_id=user_id))

    async def erased() -> bool:
        return bool(await connection.fetchval("SELECT erase_at > erase_requested_at FROM users WHERE id = $1", user_id))

    await eventually(erased, what="the user being erased", deadline=30)


async def everything_in(store: Neighbour) -> str:
    """All messages of all streams as text."""
    found = []
    for info in await store.js.streams_info():
        sequence = 0
        while True:
            try:
                message = await store.js.get_msg(info.config.name or "", seq=sequence + 1, subject=">", next=True)
            except nats.js.errors.NotFoundError:
                break
            sequence = message.seq or 0
            found.append((message.data or b"").decode(errors="replace"))
    return "\n".join(found)


async def audited(store: Neighbour, kind: str, user_id: str) -> AuditEvent:
    """Wait for the audit event of this kind about the user."""

    async def find() -> AuditEvent | None:
        sequence = 0
        while True:
            try:
                message = await store.js.get_msg("AUDIT", seq=sequence + 1, subject=subjects.audit(kind), next=True)
            except nats.js.errors.NotFoundError:
                return None
            sequence = message.seq or 0
            event = msgspec.json.decode(message.data or b"", type=AuditEvent)
            if event.user_id == user_id:
                return event

    found = await eventually(find, what=f"{kind} of {user_id}")
    assert found is not None
    return found


async def test_nothing_that_an_erased_user_wrote_is_left_in_postgres_or_a_stream(
    store: Neighbour, connection: asyncpg.Connection[asyncpg.Record], module_database_url: str
) -> None:
    user_id, other = await new_user(store), await new_user(store)
    own, shared = await store.chat(user_id), await store.chat(other)
    await connection.execute(
        "INSERT INTO members (chat_id, user_id, role, added_at) VALUES ($1, $2, 'writer', now())", shared, user_id
    )
    await store.say(own, f"{SECRET} of one's own", user_id=user_id)
    await finish(store, own, f"an answer with {SECRET}")
    asked = CompletionRequest(
        parameters={"user": SECRET},
        instructions=SECRET,
        context=[ContextMessage(role="user", content=SECRET)],
        parts=[TextPart(text=SECRET)],
        metadata={SECRET: SECRET},
    )
    await store.say(shared, f"{SECRET} among others", user_id=user_id, completion=asked)
    claimed = await store.claimed(await store.request_for(shared))
    call = ToolCall(id="call_1", name="look", arguments=SECRET, server="web", status="complete", result=SECRET)
    tool_round: rpc.StoreToolRound = rpc.StoreToolRound(
        chat_id=shared, generation_id=claimed.generation_id, attempt=1, number=0, round=ToolRound(calls=[call])
    )
    await store.ask(tool_round)
    await store.finish(claimed, f"you said {SECRET}", tool_calls=[call], layout=[Span("tool")])
    await eventually(lambda: is_idle(store, shared), what="the answer being stored")
    question = await store.say(shared, "a question of the owner", user_id=other)
    await finish(store, shared, "an answer to the owner", number=2)
    await store.js.publish(
        subjects.dead_letter("chat-store-prompts", shared),
        msgspec.json.encode({"chat_id": shared, "message_id": question, "user_id": user_id, "content": SECRET}),
    )
    kept = msgspec.json.encode({"chat_id": shared, "message_id": question, "user_id": other, "content": "kept"})
    await store.js.publish(subjects.dead_letter("chat-store-prompts", shared), kept)
    assert SECRET in await everything_in(store)
    assert SECRET in dump(module_database_url)

    await erase(store, connection, user_id)

    assert SECRET not in dump(module_database_url)

    async def forgotten() -> bool:
        return SECRET not in await everything_in(store)

    await eventually(forgotten, what="the streams being purged")
    assert kept.decode() in await everything_in(store)
    with pytest.raises(RpcRefused):
        await store.get(own, user_id=user_id)
    with pytest.raises(RpcRefused):
        await store.get(shared, user_id=user_id)
    left = await store.messages(shared, user_id=other)
    assert [one.tool_calls for one in left] == [[]] * 4
    assert [(one.role, one.content) for one in left] == [
        ("user", ""),
        ("assistant", ""),
        ("user", "a question of the owner"),
        ("assistant", "an answer to the owner"),
    ]
    assert [one.error.code if one.error else None for one in left] == ["erased", "erased", None, None]
    assert left[0].author_id is None
    assert (await store.get(shared, user_id=other)).title is None, "it was made of the first prompt"


async def test_who_an_erased_user_was_is_removed_at_once_and_usage_is_nobodys(
    store: Neighbour, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    user_id = await new_user(store)
    chat_id = await store.chat(user_id)
    await store.say(chat_id, user_id=user_id)
    await finish(store, chat_id, "an answer")
    await store.ask(rpc.EraseUser(user_id=user_id, actor_id=user_id))
    user = (await store.ask(GetUser(user_id=user_id))).user
    assert (user.disabled, user.erased, user.email, user.name) == (True, True, None, None)
    assert (await store.ask(ListSessions(user_id=user_id))).items == []
    assert (await store.ask(ListApiKeys(user_id=user_id))).items == []
    with pytest.raises(RpcRefused):
        await store.ask(UpdateUser(user_id=user_id, disabled=False))
    await erase(store, connection, user_id)
    assert await connection.fetchval("SELECT user_id FROM usage WHERE chat_id = $1", chat_id) == ERASED_USER
    event = await audited(store, "user_erased", user_id)
    assert event.actor_id == user_id
    created = await audited(store, "key_created", user_id)
    assert created.key_id is not None


async def test_a_running_answer_to_an_erased_user_is_stopped_and_then_emptied(
    store: Neighbour, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    user_id, other = await new_user(store), await new_user(store)
    shared = await store.chat(other)
    await connection.execute(
        "INSERT INTO members (chat_id, user_id, role, added_at) VALUES ($1, $2, 'writer', now())", shared, user_id
    )
    await store.say(shared, SECRET, user_id=user_id)
    claimed = await store.claimed(await store.request_for(shared))
    await store.say(shared, f"{SECRET} waits", user_id=user_id)

    async def waits() -> bool:
        return len(await store.messages(shared, user_id=other)) == 3

    await eventually(waits, what="the second prompt being queued")
    await store.ask(rpc.EraseUser(user_id=user_id, actor_id="operator"))
    await eventually(lambda: claimed.generation_id in store.signals, what="a stop signal")
    await store.finish(claimed, f"{SECRET} so far", outcome="stopped")
    await erase(store, connection, user_id)
    assert [one.content for one in await store.messages(shared, user_id=other)] == ["", ""]


async def test_an_erasure_goes_on_after_a_restart(
    start_store: StartStore, neighbour: Neighbour, nats_url: str, database_url: str
) -> None:
    migrate(nats_url, database_url)
    connection = await asyncpg.connect(database_url)
    try:
        async with start_store():
            user_id = await new_user(neighbour)
            chats = [await neighbour.chat(user_id, title=SECRET) for _ in range(30)]
            await neighbour.ask(rpc.EraseUser(user_id=user_id, actor_id=user_id))
        async with start_store():
            await erase(neighbour, connection, user_id)
        assert await connection.fetchval("SELECT count(*) FROM chats WHERE id = ANY($1::uuid[])", chats) == 0
    finally:
        await connection.close()


async def test_an_erased_user_gets_no_key_and_no_session_from_who_does_not_know_yet(
    store: Neighbour, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    user_id = await new_user(store)
    await store.ask(rpc.EraseUser(user_id=user_id, actor_id=user_id))
    key = CreateApiKey(
        user_id=user_id,
        key_id=ids.new_id(),
        name=SECRET,
        prefix=f"pk_{ids.new_id()[-8:]}",
        secret_digest=digest("y"),
        scopes=("read",),
    )
    session = StartSession(
        session_id=ids.new_id(),
        secret_digest=digest(ids.new_id()),
        new_user_id=ids.new_id(),
        user_id=user_id,
        method="guest",
        idle_seconds=60,
        absolute_seconds=60,
    )
    requests: tuple[rpc.Request[Any], ...] = (key, session)
    for request in requests:
        with pytest.raises(RpcRefused) as refused:
            await store.ask(request)
        assert refused.value.code == "forbidden"
    for table in ("api_keys", "sessions"):
        assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", user_id) == 0


async def test_an_unknown_user_cannot_be_erased(store: Neighbour) -> None:
    with pytest.raises(RpcRefused) as refused:
        await store.ask(rpc.EraseUser(user_id=ids.new_id(), actor_id="operator"))
    assert refused.value.code == "not_found"


async def finish(store: Neighbour, chat_id: str, text: str, *, number: int = 1) -> None:
    """Answer a request, and wait until the answer is stored."""
    claimed = await store.claimed(await store.request_for(chat_id, number=number))
    await store.finish(claimed, text)

    await eventually(lambda: is_idle(store, chat_id), what="the answer being stored")


async def is_idle(store: Neighbour, chat_id: str) -> bool:
    return (await store.sync(chat_id)).generation is None


def dump(url: str) -> str:
    """The database as plain SQL."""
    command = [postgres_program("pg_dump"), "--dbname", url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
