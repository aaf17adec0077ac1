"""A guest who signs in keeps everything, and guests who have nothing are removed in time."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from parley.contracts import ids, rpc
from parley.contracts.access.identity import GetUser, ListApiKeys, ListSessions, Revoked
from parley.runtime.nats.errors import RpcRefused
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import StartStore
from tests.integration.chat_store.people import create_key, guest, resolve, sign_in, start_session
from tests.support.waiting import eventually


async def test_the_first_sign_in_makes_the_guest_the_user_and_ends_the_guests_sessions_and_keys(
    store: Neighbour,
) -> None:
    planted, fresh = ids.new_id(), ids.new_id()
    before = await start_session(store, planted)
    guest_id = before.user.id
    key = await create_key(store, guest_id, "secret")
    chat_id = await store.chat(guest_id)
    signed_in = await sign_in(store, ids.new_id(), fresh, guest_id=guest_id, name="Ann")
    assert (signed_in.user.id, signed_in.user.name) == (guest_id, "Ann")
    assert (await store.get(chat_id, user_id=guest_id)).owner_id == guest_id
    assert await resolve(store, fresh) == signed_in
    with pytest.raises(RpcRefused):
        await resolve(store, planted)
    assert (await store.ask(ListApiKeys(user_id=guest_id))).items == []
    assert len((await store.ask(ListSessions(user_id=guest_id))).items) == 1
    expected = [Revoked(user_id=guest_id, session_id=before.session_id), Revoked(user_id=guest_id, key_id=key.id)]
    await eventually(lambda: [one for one in store.revoked if one.user_id == guest_id] == expected)


async def test_the_chats_of_a_guest_go_to_the_user_who_signs_in_and_readers_are_informed(store: Neighbour) -> None:
    subject = ids.new_id()
    user_id = (await sign_in(store, subject)).user.id
    session = await start_session(store)
    guest_id = session.user.id
    chat_id = await store.chat(guest_id, title="Kept")
    said = await store.say(chat_id, "mine", user_id=guest_id)
    claimed = await store.claimed(await store.request_for(chat_id))
    queued = await store.say(chat_id, "next", user_id=guest_id)
    await eventually(lambda: _has(store, chat_id, guest_id, queued))
    version = (await store.get(chat_id, user_id=guest_id)).version

    assert (await sign_in(store, subject, guest_id=guest_id)).user.id == user_id

    chat = await store.get(chat_id, user_id=user_id)
    assert (chat.owner_id, chat.version, chat.title, chat.running) == (user_id, version + 1, "Kept", True)
    members = (await store.ask(rpc.ListMembers(user_id=user_id, chat_id=chat_id))).items
    assert [(member.user_id, member.role) for member in members] == [(user_id, "owner")]
    messages = await store.messages(chat_id, user_id=user_id)
    assert {message.id: message.author_id for message in messages if message.role == "user"} == {
        said: user_id,
        queued: user_id,
    }
    synced = await store.sync(chat_id, after=version)
    assert [message.id for message in synced.messages] == [said, queued]
    (changed,) = await eventually(lambda: [one for one in store.changed if one.removed_members == [guest_id]])
    assert (changed.chat_id, changed.since, changed.version, changed.chat) == (chat_id, version, version + 1, chat)
    await eventually(lambda: store.lists[user_id][0].chat == chat.summary())
    await eventually(lambda: Revoked(user_id=guest_id, disabled=True) in store.revoked)

    # The answers under way go on, and are on the account of the user.
    await store.finish(claimed)
    await store.finish(await store.claimed(await store.request_for(chat_id, number=2)))

    async def both() -> bool:
        usage = (await store.ask(rpc.GetUsage(user_id=user_id))).items
        return sum(line.answers for line in usage) == 2

    await eventually(both)
    assert (await store.ask(rpc.GetUsage(user_id=guest_id))).items == []
    with pytest.raises(RpcRefused):
        await store.ask(GetUser(user_id=guest_id))
    with pytest.raises(RpcRefused):
        await store.get(chat_id, user_id=guest_id)


async def test_of_two_memberships_of_a_chat_the_greater_role_stays(store: Neighbour, module_database_url: str) -> None:
    subject = ids.new_id()
    user_id = (await sign_in(store, subject)).user.id
    guest_id = await guest(store)
    owned, read = await store.chat(guest_id), await store.chat(user_id)
    connection = await asyncpg.connect(module_database_url)
    add = "INSERT INTO members (chat_id, user_id, role, added_at) VALUES ($1, $2, 'reader', now())"
    try:
        await connection.execute(add, owned, user_id)
        await connection.execute(add, read, guest_id)
    finally:
        await connection.close()
    await sign_in(store, subject, guest_id=guest_id)
    for chat_id in (owned, read):
        members = (await store.ask(rpc.ListMembers(user_id=user_id, chat_id=chat_id))).items
        assert [(member.user_id, member.role) for member in members] == [(user_id, "owner")]


async def test_nobody_else_is_taken_over_by_signing_in(store: Neighbour) -> None:
    other = (await sign_in(store, ids.new_id())).user.id
    chat_id = await store.chat(other)
    mine = await sign_in(store, ids.new_id(), guest_id=other)
    again = await sign_in(store, mine.user.subject or "", guest_id=mine.user.id)
    nobody = await sign_in(store, mine.user.subject or "", guest_id=ids.new_id())
    assert mine.user.id == again.user.id == nobody.user.id != other
    assert (await store.get(chat_id, user_id=other)).owner_id == other


async def test_ended_sessions_and_guests_who_have_nothing_are_removed_in_time(
    start_store: StartStore, neighbour: Neighbour, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with start_store():
            gone, ended, owner, returning, user = [await guest(neighbour) for _ in range(5)]
            await sign_in(neighbour, "ann", guest_id=user)
            await neighbour.chat(owner)
            expire = "UPDATE sessions SET expires_at = now() WHERE user_id = ANY($1::text[])"
            await connection.execute(expire, [gone, ended, owner, user])
            age = "UPDATE users SET last_seen_at = now() - $2::interval WHERE id = ANY($1::text[])"
            await connection.execute(age, [gone, owner, returning, user], timedelta(days=31))
            await connection.execute(age, [ended], timedelta(days=29))
            used = "INSERT INTO used_logout_tokens VALUES ('past', now()), ('not yet', now() + interval '1 hour')"
            await connection.execute(used)
        async with start_store(FORGET_GUESTS_AFTER="30"):

            async def left() -> bool:
                rows = await connection.fetch("SELECT id FROM users")
                return {row[0] for row in rows} == {ended, owner, returning, user}

            await eventually(left, what="the guest being removed")
            assert await connection.fetchval("SELECT count(*) FROM sessions") == 1
            assert await connection.fetchval("SELECT string_agg(digest, ',') FROM used_logout_tokens") == "not yet"
    finally:
        await connection.close()


async def _has(store: Neighbour, chat_id: str, user_id: str, message_id: str) -> bool:
    return message_id in {message.id for message in await store.messages(chat_id, user_id=user_id)}
