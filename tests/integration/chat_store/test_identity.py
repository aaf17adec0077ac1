"""Users, sessions and API keys: who makes a request, until when, and what is published when that ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from chat_store.storage.identity.api_keys import MAX_KEYS
from chat_store.storage.identity.sessions import MAX_SESSIONS
from parley.contracts import ids, rpc
from parley.contracts.access.identity import (
    CreateApiKey,
    EndProviderSessions,
    EndSessions,
    External,
    FindRevoked,
    GetUser,
    ListApiKeys,
    ListSessions,
    ListUsers,
    ResolveApiKey,
    ResolveExternal,
    ResolveSession,
    RevokeApiKey,
    Revoked,
    UpdateUser,
    digest,
)
from parley.runtime.nats.errors import RpcRefused
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.people import ISSUER, create_key, guest, resolve, sign_in, start_session
from tests.integration.chat_store.test_erasure import audited
from tests.support.waiting import eventually


async def refused(store: Neighbour, request: rpc.Request[Any]) -> str:
    with pytest.raises(RpcRefused) as refusal:
        await store.ask(request)
    return refusal.value.code


async def is_published(store: Neighbour, revoked: Revoked) -> None:
    await eventually(lambda: revoked in store.revoked, what=f"{revoked} being published")


# --- sessions -------------------------------------------------------------------------------------------------------


async def test_a_new_guest_has_a_session_which_is_found_by_its_secret_and_by_its_id(store: Neighbour) -> None:
    secret = ids.new_id()
    started = await start_session(store, secret, address="203.0.113.7", user_agent="Test\x00Agent")
    assert (started.user.issuer, started.user.role, started.user.disabled) == (None, "user", False)
    assert await resolve(store, secret) == started
    assert (await store.ask(ResolveSession(session_id=started.session_id))).principal == started
    assert (await store.ask(GetUser(user_id=started.user.id))).user == started.user
    (listed,) = (await store.ask(ListSessions(user_id=started.user.id))).items
    assert (listed.id, listed.address, listed.user_agent, listed.method, listed.expires_at) == (
        started.session_id,
        "203.0.113.7",
        "Test\ufffdAgent",
        "guest",
        started.expires_at,
    )


async def test_the_same_session_again_is_the_same_and_with_another_secret_is_refused(store: Neighbour) -> None:
    session_id, secret = ids.new_id(), ids.new_id()
    first, *others = await asyncio.gather(*(start_session(store, secret, session_id=session_id) for _ in range(4)))
    assert all(other == first for other in others), "at once, or again without a reply"
    with pytest.raises(RpcRefused) as refusal:
        await start_session(store, "another", session_id=session_id)
    assert refusal.value.code == "conflict"


async def test_a_guest_from_before_sessions_keeps_the_id(store: Neighbour) -> None:
    before = ids.new_id()
    assert (await start_session(store, user_id=before)).user.id == before
    assert (await start_session(store, user_id=before)).user.id == before


async def test_a_guests_cookie_from_before_gives_no_session_once_the_guest_has_signed_in(store: Neighbour) -> None:
    guest_id = await guest(store)
    await sign_in(store, ids.new_id(), guest_id=guest_id)
    with pytest.raises(RpcRefused) as refusal:
        await start_session(store, user_id=guest_id)
    assert refusal.value.code == "not_found"


async def test_a_session_that_is_ended_is_not_found_and_that_is_published(store: Neighbour) -> None:
    secrets = [ids.new_id() for _ in range(3)]
    user_id = await guest(store)
    mine = [await start_session(store, secret, user_id=user_id) for secret in secrets]
    await store.ask(EndSessions(user_id=await guest(store), session_id=mine[0].session_id))
    await resolve(store, secrets[0])

    for _ in range(2):
        await store.ask(EndSessions(user_id=user_id, session_id=mine[0].session_id))
    assert await refused(store, ResolveSession(secret_digest=digest(secrets[0]))) == "not_found"
    await is_published(store, Revoked(user_id=user_id, session_id=mine[0].session_id))
    await resolve(store, secrets[1])

    await store.ask(EndSessions(user_id=user_id, except_id=mine[2].session_id))
    assert await refused(store, ResolveSession(secret_digest=digest(secrets[1]))) == "not_found"
    await is_published(store, Revoked(user_id=user_id, session_id=mine[1].session_id))
    await resolve(store, secrets[2])
    assert len((await store.ask(ListSessions(user_id=user_id))).items) == 1


@pytest.mark.parametrize("given", ["", "nonsense", "' OR 1=1", "0" * 64])
async def test_an_unknown_secret_or_id_is_not_found(store: Neighbour, given: str) -> None:
    assert await refused(store, ResolveSession(secret_digest=given)) == "not_found"
    assert await refused(store, ResolveSession(session_id=given)) == "not_found"
    assert await refused(store, ResolveSession()) == "not_found"
    assert await refused(store, GetUser(user_id=given)) == "not_found"


async def test_a_session_that_is_not_used_ends_and_one_that_is_used_ends_at_the_latest(
    store: Neighbour, module_database_url: str
) -> None:
    connection = await asyncpg.connect(module_database_url)
    ago = "UPDATE sessions SET last_used_at = last_used_at - $2::interval, expires_at = $3 WHERE id = $1"
    try:
        secret = ids.new_id()
        session = await start_session(store, secret, idle_seconds=600, absolute_seconds=900)
        assert session.expires_at is not None
        at_once = await resolve(store, secret)
        assert at_once.expires_at == session.expires_at, "extended at most once a minute"

        now = datetime.now(UTC)
        await connection.execute(ago, session.session_id, timedelta(seconds=60), now + timedelta(seconds=540))
        extended = await resolve(store, secret)
        assert extended.expires_at is not None
        assert now + timedelta(seconds=590) < extended.expires_at <= datetime.now(UTC) + timedelta(seconds=600)

        ends = "UPDATE sessions SET ends_at = $2 WHERE id = $1"
        await connection.execute(ends, session.session_id, now + timedelta(seconds=300))
        await connection.execute(ago, session.session_id, timedelta(seconds=60), now + timedelta(seconds=200))
        assert (await resolve(store, secret)).expires_at == now + timedelta(seconds=300)

        await connection.execute(ago, session.session_id, timedelta(seconds=600), now - timedelta(seconds=1))
        assert await refused(store, ResolveSession(secret_digest=digest(secret))) == "not_found"
        reply = await store.ask(FindRevoked(session_ids=[session.session_id or ""]))
        assert reply.session_ids == [session.session_id]
        assert (await store.ask(ListSessions(user_id=session.user.id))).items == []
    finally:
        await connection.close()


async def test_of_too_many_sessions_the_one_not_used_for_longest_ends(store: Neighbour) -> None:
    user_id = await guest(store)
    (first,) = (await store.ask(ListSessions(user_id=user_id))).items
    for _ in range(MAX_SESSIONS):
        await start_session(store, user_id=user_id)
    listed = (await store.ask(ListSessions(user_id=user_id))).items
    assert len(listed) == MAX_SESSIONS
    assert first.id not in {session.id for session in listed}
    await is_published(store, Revoked(user_id=user_id, session_id=first.id))


def logout(**named: Any) -> EndProviderSessions:
    """The provider's request to end sessions."""
    token = {"token_id": ids.new_id(), "expires_at": datetime.now(UTC) + timedelta(minutes=10)}
    return EndProviderSessions(**{"issuer": ISSUER, **token, **named})


async def test_the_provider_ends_what_was_begun_in_its_session_and_that_is_published(store: Neighbour) -> None:
    subject, one, other = ids.new_id(), ids.new_id(), ids.new_id()
    secrets = {name: ids.new_id() for name in ("one", "again", "other", "unnamed", "guest")}
    mine = await sign_in(store, subject, secrets["one"], provider_session=one)
    await sign_in(store, subject, secrets["again"], provider_session=one)
    await sign_in(store, subject, secrets["other"], provider_session=other)
    await sign_in(store, subject, secrets["unnamed"])
    await start_session(store, secrets["guest"])

    async def left() -> set[str]:
        found = set()
        for name, secret in secrets.items():
            try:
                await resolve(store, secret)
            except RpcRefused:
                continue
            found.add(name)
        return found

    await store.ask(logout(issuer="https://other.example.org", provider_session=one))
    await store.ask(logout(provider_subject=ids.new_id(), provider_session=one))
    assert await left() == secrets.keys()
    await store.ask(logout(provider_session=one))
    assert await left() == {"other", "unnamed", "guest"}
    await is_published(store, Revoked(user_id=mine.user.id, session_id=mine.session_id))
    event = await audited(store, "sign_out", mine.user.id)
    assert (event.actor_id, event.reason) == (None, "provider")
    # A session whose provider's is not known may be the one.
    await store.ask(logout(provider_subject=subject, provider_session=one))
    assert await left() == {"other", "guest"}
    await store.ask(logout(provider_subject=subject))
    assert await left() == {"guest"}
    assert await refused(store, logout()) == "invalid"


async def test_a_logout_token_is_used_once_whichever_process_gets_it(store: Neighbour) -> None:
    subject = ids.new_id()
    request = logout(provider_subject=subject)

    async def outcome() -> str:
        try:
            await store.ask(request)
        except RpcRefused as refusal:
            return refusal.code
        return "done"

    outcomes = await asyncio.gather(*(outcome() for _ in range(5)))
    assert sorted(outcomes) == ["conflict"] * 4 + ["done"]
    await sign_in(store, subject, secret := ids.new_id())
    assert await outcome() == "conflict"
    await resolve(store, secret)
    # Another issuer's may have the same name.
    await store.ask(replace(request, issuer="https://other.example.org"))


# --- users ----------------------------------------------------------------------------------------------------------


async def test_an_external_user_is_found_again_with_the_profile_of_the_last_sign_in(store: Neighbour) -> None:
    subject = ids.new_id()
    first = (await sign_in(store, subject, email="ann@example.org", name="Ann", groups=("one",))).user
    assert (first.issuer, first.subject, first.email, first.groups) == (ISSUER, subject, "ann@example.org", ["one"])
    again = (await sign_in(store, subject, name="Ann B.", groups=("two", "three"), role="administrator")).user
    assert (again.id, again.email, again.name) == (first.id, "ann@example.org", "Ann B.")
    assert (again.groups, again.role) == (["two", "three"], "administrator")
    other = ResolveExternal(external=External(issuer="proxy", subject=subject), new_user_id=ids.new_id())
    assert (await store.ask(other)).principal.user.id != first.id, "a subject belongs to its issuer"


async def test_one_who_signs_in_several_times_at_once_is_one_user(store: Neighbour) -> None:
    subject, guests = ids.new_id(), [await guest(store) for _ in range(4)]
    principals = await asyncio.gather(*(sign_in(store, subject, guest_id=guest_id) for guest_id in guests))
    requests = [
        ResolveExternal(external=External(issuer=ISSUER, subject=subject), new_user_id=ids.new_id()) for _ in range(4)
    ]
    found = await asyncio.gather(*(store.ask(request) for request in requests))
    assert len({one.user.id for one in principals} | {reply.principal.user.id for reply in found}) == 1
    assert found[0].principal.session_id is None


async def test_a_disabled_user_is_forbidden_everywhere_until_enabled_again(store: Neighbour) -> None:
    subject, secret = ids.new_id(), ids.new_id()
    session = await sign_in(store, subject, secret)
    key = await create_key(store, session.user.id, secret)
    by_key = ResolveApiKey(prefix=key.prefix, secret_digest=digest(secret))
    user_id = session.user.id
    disabled = (await store.ask(UpdateUser(user_id=user_id, disabled=True))).user
    assert disabled.disabled
    await is_published(store, Revoked(user_id=user_id, disabled=True))
    assert await refused(store, ResolveSession(secret_digest=digest(secret))) == "forbidden"
    assert await refused(store, by_key) == "forbidden"
    with pytest.raises(RpcRefused) as refusal:
        await sign_in(store, subject)
    assert refusal.value.code == "forbidden"
    external = External(issuer=ISSUER, subject=subject)
    assert await refused(store, ResolveExternal(external=external, new_user_id=ids.new_id())) == "forbidden"
    reply = await store.ask(
        FindRevoked(session_ids=[session.session_id or ""], key_ids=[key.id], user_ids=[user_id, "nobody"])
    )
    assert (reply.session_ids, reply.key_ids) == ([session.session_id], [key.id])
    assert reply.user_ids == [user_id], "who is not known is not disabled"

    await store.ask(UpdateUser(user_id=user_id, disabled=False, role="administrator"))
    await is_published(store, Revoked(user_id=user_id, closes=False))
    assert (await resolve(store, secret)).user.role == "administrator"
    assert (await store.ask(by_key)).principal.key_id == key.id
    reply = await store.ask(FindRevoked(session_ids=[session.session_id or ""], key_ids=[key.id], user_ids=[user_id]))
    assert (reply.session_ids, reply.key_ids, reply.user_ids) == ([], [], [])
    assert await refused(store, UpdateUser(user_id=ids.new_id(), disabled=True)) == "not_found"


async def test_users_are_listed_by_page_the_newest_first_and_found_by_part_of_their_names(store: Neighbour) -> None:
    mark = ids.new_id()[-12:]
    made = [(await sign_in(store, ids.new_id(), name=f"100%_{mark}", email=f"{n}@x.org")).user.id for n in range(5)]
    seen: list[str] = []
    before: str | None = None
    while True:
        page = await store.ask(ListUsers(query=f"%_{mark.upper()}", before=before, limit=2))
        seen.extend(user.id for user in page.items)
        before = page.next
        if before is None:
            break
    assert seen == made[::-1]
    assert (await store.ask(ListUsers(query=f"1_0{mark}"))).items == []
    assert [user.id for user in (await store.ask(ListUsers(query=made[0]))).items] == [made[0]]
    assert await refused(store, ListUsers(before="nonsense")) == "invalid"


# --- API keys -------------------------------------------------------------------------------------------------------


async def test_an_api_key_is_found_by_prefix_and_digest_until_it_is_revoked_or_expires(store: Neighbour) -> None:
    user_id, secret = await guest(store), ids.new_id()
    key = await create_key(store, user_id, secret, scopes=("read", "openai"))
    assert key.last_used_at is None
    found = ResolveApiKey(prefix=key.prefix, secret_digest=digest(secret))
    principal = (await store.ask(found)).principal
    assert (principal.user.id, principal.key_id, principal.scopes) == (user_id, key.id, ("read", "openai"))
    assert (principal.session_id, principal.expires_at) == (None, None)
    assert await refused(store, ResolveApiKey(prefix=key.prefix, secret_digest=digest("wrong"))) == "not_found"
    (listed,) = (await store.ask(ListApiKeys(user_id=user_id))).items
    assert listed.last_used_at is not None

    await store.ask(RevokeApiKey(user_id=await guest(store), key_id=key.id))
    await store.ask(found)
    for _ in range(2):
        await store.ask(RevokeApiKey(user_id=user_id, key_id=key.id))
    await is_published(store, Revoked(user_id=user_id, key_id=key.id))
    assert await refused(store, found) == "not_found"
    past = await create_key(store, user_id, secret, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert await refused(store, ResolveApiKey(prefix=past.prefix, secret_digest=digest(secret))) == "not_found"
    assert (await store.ask(FindRevoked(key_ids=[key.id, past.id]))).key_ids == [key.id, past.id]


async def test_a_key_is_created_once_and_a_user_has_so_many(store: Neighbour) -> None:
    user_id = await guest(store)
    request = CreateApiKey(
        user_id=user_id, key_id=ids.new_id(), name="a", prefix=ids.new_id()[-8:], secret_digest="d", scopes=("read",)
    )
    assert await store.ask(request) == await store.ask(request)
    await asyncio.gather(*(create_key(store, user_id, "secret") for _ in range(MAX_KEYS - 1)))
    with pytest.raises(RpcRefused) as refusal:
        await create_key(store, user_id, "secret")
    assert refusal.value.code == "conflict"
    await store.ask(request)
    with pytest.raises(RpcRefused) as refusal:
        await create_key(store, await guest(store), "secret", prefix=request.prefix)
    assert refusal.value.code == "conflict"
    with pytest.raises(RpcRefused) as refusal:
        await create_key(store, ids.new_id(), "secret")
    assert refusal.value.code == "not_found"
