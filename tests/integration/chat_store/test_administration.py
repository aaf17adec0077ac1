"""What administrators and operators do: users, keys and usage of everybody, and deletion by age."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import asyncpg
import pytest

from parley.contracts import ids, rpc
from parley.contracts.access.identity import GetUser, ListApiKeys, ResolveApiKey, UpdateUser, digest, prefix_of
from parley.runtime.nats.errors import RpcRefused
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import StartStore
from tests.integration.chat_store.people import create_key, guest, sign_in
from tests.integration.chat_store.test_erasure import audited, finish
from tests.support.waiting import eventually


async def parley(url: str, *arguments: str, exit_code: int = 0) -> list[dict[str, Any]]:
    """Run a command of the operator; return what it prints as JSON."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "parley_cli.main", *arguments, "--nats-url", url, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == exit_code, err.decode()
    return [json.loads(line) for line in out.decode().splitlines()]


async def test_an_operator_lists_shows_disables_and_promotes_users(store: Neighbour, module_nats_url: str) -> None:
    user = (await sign_in(store, ids.new_id(), email="ada@example.org", name="Ada")).user
    other = await guest(store)
    listed = await parley(module_nats_url, "users", "list", "ada@example")
    assert [one["id"] for one in listed] == [user.id]
    assert {one["id"] for one in await parley(module_nats_url, "users", "list")} >= {user.id, other}
    (shown,) = await parley(module_nats_url, "users", "show", user.id)
    assert (shown["email"], shown["role"], shown["disabled"]) == ("ada@example.org", "user", False)
    (disabled,) = await parley(module_nats_url, "users", "disable", user.id)
    assert disabled["disabled"]
    await parley(module_nats_url, "users", "enable", user.id)
    (promoted,) = await parley(module_nats_url, "users", "role", user.id, "administrator")
    assert (promoted["role"], promoted["disabled"]) == ("administrator", False)
    event = await audited(store, "role_changed", user.id)
    assert (event.actor_id, event.role) == ("operator", "administrator")
    await audited(store, "user_disabled", user.id)
    await audited(store, "user_enabled", user.id)
    await parley(module_nats_url, "users", "show", ids.new_id(), exit_code=1)


async def test_a_user_who_has_only_api_keys_is_created_once(store: Neighbour, module_nats_url: str) -> None:
    name = f"nightly report {ids.new_id()}"
    (created,) = await parley(module_nats_url, "users", "create", name)
    assert (created["name"], created["issuer"], created["role"]) == (name, "operator", "user")
    assert (await parley(module_nats_url, "users", "create", name))[0]["id"] == created["id"]
    arguments = ("keys", "create", created["id"], "--name", "report", "--scope", "openai")
    (key,) = await parley(module_nats_url, *arguments)
    found = ResolveApiKey(prefix=prefix_of(key["secret"]) or "", secret_digest=digest(key["secret"]))
    assert (await store.ask(found)).principal.user.id == created["id"]


async def test_an_operator_erases_a_user(store: Neighbour, module_nats_url: str) -> None:
    user_id = await guest(store)
    await parley(module_nats_url, "users", "erase", user_id, "--force")
    assert (await store.ask(GetUser(user_id=user_id))).user.erased
    assert (await audited(store, "user_erased", user_id)).actor_id == "operator"


async def test_keys_of_everybody_are_listed_in_pages_and_revoked(store: Neighbour, module_nats_url: str) -> None:
    owners = [await guest(store) for _ in range(3)]
    keys = [await create_key(store, user_id, ids.new_id()) for user_id in owners]
    found: list[str] = []
    before: str | None = None
    while True:
        page = await store.ask(rpc.FindApiKeys(before=before, limit=2))
        found += [one.key.id for one in page.items]
        before = page.next
        if before is None:
            break
    assert [key_id for key_id in found if key_id in {key.id for key in keys}] == [key.id for key in reversed(keys)]
    (one,) = await parley(module_nats_url, "keys", "list", "--user", owners[0])
    assert (one["user_id"], one["key"]["id"]) == (owners[0], keys[0].id)
    await parley(module_nats_url, "keys", "revoke", keys[0].id)
    assert (await store.ask(ListApiKeys(user_id=owners[0]))).items == []
    assert len((await store.ask(ListApiKeys(user_id=owners[1]))).items) == 1
    event = await audited(store, "key_revoked", owners[0])
    assert (event.actor_id, event.key_id) == ("operator", keys[0].id)


async def test_an_operator_creates_a_key_whose_secret_is_printed_once(store: Neighbour, module_nats_url: str) -> None:
    user_id = await guest(store)
    arguments = ("keys", "create", user_id, "--name", "robot", "--scope", "read", "--scope", "openai")
    (created,) = await parley(module_nats_url, *arguments, "--expires", "2099-12-31")
    secret, key = created["secret"], created["key"]
    assert (created["user_id"], key["name"], key["scopes"]) == (user_id, "robot", ["read", "openai"])
    assert key["expires_at"] == "2100-01-01T00:00:00Z"
    found = await store.ask(ResolveApiKey(prefix=prefix_of(secret) or "", secret_digest=digest(secret)))
    assert (found.principal.user.id, found.principal.scopes) == (user_id, ("read", "openai"))
    (listed,) = await parley(module_nats_url, "keys", "list", "--user", user_id)
    assert secret not in json.dumps(listed)
    event = await audited(store, "key_created", user_id)
    assert (event.actor_id, event.key_id) == ("operator", key["id"])
    await parley(module_nats_url, "keys", "create", ids.new_id(), "--name", "x", "--scope", "read", exit_code=1)


async def test_usage_of_everybody_is_summed_by_user_and_model(store: Neighbour, module_nats_url: str) -> None:
    users = [await guest(store) for _ in range(2)]
    for user_id in users:
        chat_id = await store.chat(user_id)
        await store.say(chat_id, user_id=user_id)
        await finish(store, chat_id, "an answer")
    first = await store.ask(rpc.ListUsage(limit=1))
    assert first.next is not None
    second = await store.ask(rpc.ListUsage(limit=1, before=first.next))
    assert first.items[0].user_id < second.items[0].user_id
    (line,) = await parley(module_nats_url, "usage", "--user", users[0], "--from", "2020-01-01")
    assert (line["usage"]["answers"], line["usage"]["input_tokens"], line["usage"]["output_tokens"]) == (1, 3, 5)
    assert await parley(module_nats_url, "usage", "--user", users[0], "--to", "2020-01-01") == []


async def test_an_unknown_user_cannot_be_changed(store: Neighbour) -> None:
    with pytest.raises(RpcRefused) as refused:
        await store.ask(UpdateUser(user_id=ids.new_id(), disabled=True))
    assert refused.value.code == "not_found"


async def test_chats_that_did_not_change_for_as_long_as_the_retention_are_deleted(
    start_store: StartStore, neighbour: Neighbour, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with start_store():
            old = [await neighbour.chat() for _ in range(25)]
            young = await neighbour.chat()
            await connection.execute(
                "UPDATE chats SET updated_at = now() - interval '8 days' WHERE id = ANY($1::uuid[])", old
            )
        async with start_store(RETENTION_DAYS="7"):

            async def only_the_young_one() -> bool:
                return [row[0] for row in await connection.fetch("SELECT id::text FROM chats")] == [young]

            await eventually(only_the_young_one, what="old chats being deleted", deadline=30)
            gone = await connection.fetchval("SELECT count(*) FROM deleted_chats WHERE purge_at IS NOT NULL")
            assert gone == len(old), "the streams are purged of them"
    finally:
        await connection.close()
