"""The fake that tests of other services use replies as chat-store does: each test runs against both."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec
import pytest
from nats.aio.client import Client

from parley.contracts import rpc
from parley.contracts.access import identity
from parley.contracts.access.identity import digest
from parley.contracts.completion import ToolCall, ToolRound
from parley.contracts.ids import new_id
from parley.contracts.limits import MAX_ATTEMPTS
from parley.contracts.resources import Role
from parley.runtime.nats.errors import RpcRefused
from tests.integration.chat_store.client import Neighbour, finished
from tests.integration.chat_store.people import ISSUER, create_key, sign_in, start_session
from tests.support.chat_store.fake import FakeStore
from tests.support.chat_store.generations import FakeGeneration
from tests.support.chat_store.scripted_chat import ScriptedChat
from tests.support.waiting import eventually

T = TypeVar("T")

LATER: Final = datetime.now(UTC) + timedelta(minutes=10)


class Subject(Protocol):
    """A chat-store, and what happens to it without a request."""

    async def ask(self, request: rpc.StoreRequest[T]) -> T:
        """Raises RpcRefused."""

    async def generation(self) -> tuple[str, str]:
        """Let a generation be requested; return its chat and its id."""

    async def finish(self, claimed: rpc.Claimed) -> None:
        """Let a worker finish a generation, and wait until that is stored."""

    async def room(self, *members: str) -> str:
        """Let members, the first of whom is the owner, have a chat with a message; return its id."""


class Real:
    """The service."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self.ask = neighbour.ask

    async def generation(self) -> tuple[str, str]:
        chat_id = await self._neighbour.chat()
        await self._neighbour.say(chat_id)
        return chat_id, (await self._neighbour.request_for(chat_id)).generation_id

    async def finish(self, claimed: rpc.Claimed) -> None:
        await self._neighbour.finish(claimed)
        stored = functools.partial(self._neighbour.message, claimed.chat_id, claimed.message_id)

        async def is_complete() -> bool:
            message = await stored()
            return message is not None and message.status == "complete"

        await eventually(is_complete, what="the end of the answer")

    async def room(self, *members: str) -> str:
        await self._neighbour.create_users(*members)
        chat_id = await self._neighbour.chat(members[0])
        for member in members[1:]:
            await self._neighbour.join(chat_id, member, owner=members[0])
        await self._neighbour.say(chat_id, user_id=members[0])
        await self._neighbour.request_for(chat_id)
        return chat_id


class Fake:
    """The fake, called directly."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    async def ask(self, request: rpc.StoreRequest[Any]) -> Any:
        reply = self._store.reply(request)
        if isinstance(reply, rpc.RpcError):
            raise RpcRefused(reply.code, reply.message)
        return reply

    async def generation(self) -> tuple[str, str]:
        generation = FakeGeneration(
            chat_id=new_id(), generation_id=new_id(), message_id=new_id(), model=None, context=[]
        )
        self._store.generations.by_id[generation.generation_id] = generation
        return generation.chat_id, generation.generation_id

    async def finish(self, claimed: rpc.Claimed) -> None:
        self._store.generations.finish(finished(claimed))

    async def room(self, *members: str) -> str:
        chat = ScriptedChat(new_id(), members)
        chat.submit()
        self._store.rooms.chats[chat.chat_id] = chat
        return chat.chat_id


@pytest.fixture(params=["fake", "chat-store"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        return Fake(FakeStore(cast(Client, None)))
    return Real(request.getfixturevalue("store"))


async def refused(subject: Subject, request: rpc.StoreRequest[Any]) -> str:
    """Return the code with which a request is refused."""
    with pytest.raises(RpcRefused) as refusal:
        await subject.ask(request)
    return refusal.value.code


# --- sessions and API keys -------------------------------------------------------------------------------------------


async def test_a_session_is_found_by_its_secret_and_by_its_id_until_it_is_ended(subject: Subject) -> None:
    secret = new_id()
    started = await start_session(subject, secret)
    by_secret = identity.ResolveSession(secret_digest=digest(secret))
    by_id = identity.ResolveSession(session_id=started.session_id)
    for request in (by_secret, by_id):
        found = (await subject.ask(request)).principal
        assert (found.user.id, found.session_id) == (started.user.id, started.session_id)
    await subject.ask(identity.EndSessions(user_id=started.user.id, session_id=started.session_id))
    assert await refused(subject, by_secret) == await refused(subject, by_id) == "not_found"


async def test_all_sessions_of_a_user_but_one_can_be_ended(subject: Subject) -> None:
    first = await start_session(subject)
    second = await start_session(subject, user_id=first.user.id)
    await subject.ask(identity.EndSessions(user_id=first.user.id, except_id=second.session_id))
    listed = (await subject.ask(identity.ListSessions(user_id=first.user.id))).items
    assert [one.id for one in listed] == [second.session_id]


async def test_a_subject_of_an_issuer_is_one_user_with_the_profile_of_the_last_sign_in(subject: Subject) -> None:
    name = new_id()
    first = await sign_in(subject, name, name="Ada", groups=("staff",))
    second = await sign_in(subject, name, name="Ada Lovelace", role="administrator")
    assert first.user.id == second.user.id
    assert (second.user.name, second.user.groups, second.user.role) == ("Ada Lovelace", [], "administrator")


async def test_a_guest_who_signs_in_for_the_first_time_stays_the_same_user_and_is_signed_in_anew(
    subject: Subject,
) -> None:
    secret = new_id()
    before = await start_session(subject, secret)
    after = await sign_in(subject, new_id(), guest_id=before.user.id)
    assert after.user.id == before.user.id
    assert await refused(subject, identity.ResolveSession(secret_digest=digest(secret))) == "not_found"


async def test_a_logout_token_ends_the_sessions_of_its_subject_once(subject: Subject) -> None:
    name, secret = new_id(), new_id()
    await sign_in(subject, name, secret)
    logout = identity.EndProviderSessions(
        issuer=ISSUER, provider_subject=name, provider_session=None, token_id=new_id(), expires_at=LATER
    )
    await subject.ask(logout)
    assert await refused(subject, identity.ResolveSession(secret_digest=digest(secret))) == "not_found"
    assert await refused(subject, logout) == "conflict"


async def test_an_api_key_is_found_by_its_secret_until_it_is_revoked(subject: Subject) -> None:
    user_id, secret = (await start_session(subject)).user.id, new_id()
    key = await create_key(subject, user_id, secret, scopes=("read", "openai"))
    resolve = identity.ResolveApiKey(prefix=key.prefix, secret_digest=digest(secret))
    found = (await subject.ask(resolve)).principal
    assert (found.user.id, found.key_id, tuple(found.scopes or ())) == (user_id, key.id, ("read", "openai"))
    assert [one.id for one in (await subject.ask(identity.ListApiKeys(user_id=user_id))).items] == [key.id]
    await subject.ask(identity.RevokeApiKey(user_id=user_id, key_id=key.id))
    assert await refused(subject, resolve) == "not_found"


async def test_what_was_ended_or_revoked_is_found_among_what_is_used(subject: Subject) -> None:
    used, ended = await start_session(subject), await start_session(subject)
    await subject.ask(identity.EndSessions(user_id=ended.user.id))
    revoked = await subject.ask(
        identity.FindRevoked(
            session_ids=[used.session_id or "", ended.session_id or ""],
            key_ids=[],
            user_ids=[used.user.id, ended.user.id],
        )
    )
    assert (revoked.session_ids, revoked.key_ids, revoked.user_ids) == ([ended.session_id], [], [])


# --- chats and members -----------------------------------------------------------------------------------------------


async def test_a_chat_is_created_once_under_its_id_which_no_other_user_can_take(subject: Subject) -> None:
    owner, other = await users(subject, 2)
    create = rpc.CreateChat(user_id=owner, chat_id=new_id(), title="Tides")
    assert (await subject.ask(create)).chat == (await subject.ask(create)).chat
    assert await refused(subject, msgspec.structs.replace(create, user_id=other)) == "conflict"


async def test_a_chat_is_read_changed_listed_and_deleted_by_its_owner(subject: Subject) -> None:
    [owner] = await users(subject, 1)
    chat_id = (await subject.ask(rpc.CreateChat(user_id=owner, chat_id=new_id(), title="Tides"))).chat.id
    changed = (await subject.ask(rpc.UpdateChat(user_id=owner, chat_id=chat_id, title="Moons"))).chat
    assert (changed.title, changed.model) == ("Moons", None)
    assert (await subject.ask(rpc.GetChat(user_id=owner, chat_id=chat_id))).chat == changed
    assert [chat.id for chat in (await subject.ask(rpc.ListChats(user_id=owner, limit=10))).items] == [chat_id]
    await subject.ask(rpc.DeleteChat(user_id=owner, chat_id=chat_id))
    assert await refused(subject, rpc.GetChat(user_id=owner, chat_id=chat_id)) == "not_found"


async def test_a_chat_does_not_exist_for_who_is_no_member(subject: Subject) -> None:
    owner, stranger = await users(subject, 2)
    chat_id = (await subject.ask(rpc.CreateChat(user_id=owner, chat_id=new_id()))).chat.id
    named: dict[str, Any] = {"user_id": stranger, "chat_id": chat_id}
    requests: list[rpc.StoreRequest[Any]] = [
        rpc.GetChat(**named),
        rpc.UpdateChat(**named, title="Mine"),
        rpc.DeleteChat(**named),
        rpc.CheckAccess(**named, action="read"),
        rpc.ListMessages(**named, limit=10),
        rpc.GetMessage(**named, message_id=new_id()),
        rpc.GetTurn(**named, message_id=new_id()),
        rpc.Regenerate(**named, message_id=new_id(), answer_id=new_id(), model=None),
        rpc.Stop(**named, message_id=None),
        rpc.ListMembers(**named),
        rpc.PutMember(**named, member_id=stranger, role="writer"),
        rpc.HandOver(**named, member_id=stranger),
    ]
    assert {await refused(subject, request) for request in requests} == {"not_found"}


async def test_who_is_invited_becomes_a_member_by_accepting(subject: Subject) -> None:
    owner, guest, stranger = await users(subject, 3)
    chat_id = (await subject.ask(rpc.CreateChat(user_id=owner, chat_id=new_id(), title="Tides"))).chat.id
    invite = rpc.PutMember(user_id=owner, chat_id=chat_id, member_id=guest, role="reader")
    assert (await subject.ask(invite)).member.status == "invited"
    assert await refused(subject, rpc.GetChat(user_id=guest, chat_id=chat_id)) == "not_found"
    [invitation] = (await subject.ask(rpc.ListInvitations(user_id=guest))).items
    assert (invitation.chat_id, invitation.title, invitation.role) == (chat_id, "Tides", "reader")
    accept = rpc.AcceptInvitation(user_id=guest, chat_id=chat_id)
    accepted = [(await subject.ask(accept)).member for _ in range(2)]
    assert [(member.role, member.status) for member in accepted] == [("reader", "member")] * 2
    assert (await subject.ask(rpc.ListInvitations(user_id=guest))).items == []
    assert await refused(subject, rpc.AcceptInvitation(user_id=stranger, chat_id=chat_id)) == "not_found"


@pytest.mark.parametrize(("role", "write"), [("writer", "allowed"), ("reader", "forbidden")])
async def test_the_role_of_a_member_decides_about_access(subject: Subject, role: Role, write: str) -> None:
    owner, guest = await users(subject, 2)
    chat_id = await shared_chat(subject, owner, guest, role)
    assert (await subject.ask(rpc.CheckAccess(user_id=guest, chat_id=chat_id, action="read"))).role == role
    request = rpc.CheckAccess(user_id=guest, chat_id=chat_id, action="write")
    assert (await refused(subject, request) if write == "forbidden" else "allowed") == write
    assert await refused(subject, rpc.HandOver(user_id=guest, chat_id=chat_id, member_id=guest)) == "forbidden"


async def test_a_chat_that_is_handed_over_has_its_owner_as_a_writer(subject: Subject) -> None:
    owner, guest = await users(subject, 2)
    chat_id = await shared_chat(subject, owner, guest, "reader")
    chat = (await subject.ask(rpc.HandOver(user_id=owner, chat_id=chat_id, member_id=guest))).chat
    assert chat.owner_id == guest
    members = (await subject.ask(rpc.ListMembers(user_id=guest, chat_id=chat_id))).items
    assert {member.user_id: member.role for member in members} == {owner: "writer", guest: "owner"}


async def test_a_member_who_is_removed_has_no_access(subject: Subject) -> None:
    owner, guest = await users(subject, 2)
    chat_id = await shared_chat(subject, owner, guest, "writer")
    await subject.ask(rpc.DeleteMember(user_id=owner, chat_id=chat_id, member_id=guest))
    assert await refused(subject, rpc.GetChat(user_id=guest, chat_id=chat_id)) == "not_found"


async def users(subject: Subject, count: int) -> list[str]:
    """Create guests and return their ids."""
    return [(await start_session(subject)).user.id for _ in range(count)]


async def shared_chat(subject: Subject, owner: str, member: str, role: Role) -> str:
    """Create a chat with a member who has accepted the invitation."""
    chat_id = (await subject.ask(rpc.CreateChat(user_id=owner, chat_id=new_id()))).chat.id
    await subject.ask(rpc.PutMember(user_id=owner, chat_id=chat_id, member_id=member, role=role))
    await subject.ask(rpc.AcceptInvitation(user_id=member, chat_id=chat_id))
    return chat_id


# --- generations -----------------------------------------------------------------------------------------------------


def claim_of(generation: tuple[str, str]) -> rpc.Claim:
    chat_id, generation_id = generation
    return rpc.Claim(chat_id=chat_id, generation_id=generation_id, claim_id=new_id(), worker_id="worker")


async def claim(subject: Subject, request: rpc.Claim) -> rpc.Claimed | rpc.ClaimRefused:
    reply: rpc.Claimed | rpc.ClaimRefused = await subject.ask(request)
    return reply


async def claimed(subject: Subject, request: rpc.Claim) -> rpc.Claimed:
    reply = await claim(subject, request)
    assert isinstance(reply, rpc.Claimed)
    return reply


async def test_each_claim_is_the_next_attempt_and_the_same_claim_the_same(subject: Subject) -> None:
    generation = await subject.generation()
    first = claim_of(generation)
    attempts = [await claimed(subject, request) for request in (first, first, claim_of(generation))]
    assert [(one.attempt, one.verdict) for one in attempts] == [(1, "stream"), (1, "stream"), (2, "stream")]


async def test_a_generation_that_does_not_exist_or_has_ended_cannot_be_claimed(subject: Subject) -> None:
    assert isinstance(await claim(subject, claim_of((new_id(), new_id()))), rpc.ClaimRefused)
    generation = await subject.generation()
    await subject.finish(await claimed(subject, claim_of(generation)))
    assert isinstance(await claim(subject, claim_of(generation)), rpc.ClaimRefused)


async def test_attempts_are_exhausted_unless_they_are_released(subject: Subject) -> None:
    generation = await subject.generation()
    for _ in range(MAX_ATTEMPTS):
        attempt = await claimed(subject, claim_of(generation))
    await subject.ask(rpc.Release(generation_id=generation[1], attempt=attempt.attempt))
    verdicts = [(await claimed(subject, claim_of(generation))).verdict for _ in range(2)]
    assert verdicts == ["stream", "exhausted"]


async def test_the_rounds_of_an_attempt_are_in_the_next_claim_and_no_late_ones(subject: Subject) -> None:
    generation = await subject.generation()
    attempt = await claimed(subject, claim_of(generation))
    call = ToolCall(id="a", name="clock", arguments="{}", server="time", status="complete", result="Noon.")
    store = rpc.StoreToolRound(
        chat_id=generation[0],
        generation_id=generation[1],
        attempt=attempt.attempt,
        number=0,
        round=ToolRound(text="One moment.", reasoning="", calls=[call]),
    )
    assert (await subject.ask(store)).decisions == {}
    assert (await claimed(subject, claim_of(generation))).rounds == [store.round]
    assert await refused(subject, store) == "conflict"


# --- rooms -----------------------------------------------------------------------------------------------------------


async def test_the_state_of_a_chat_is_whole_or_what_changed_since_a_version(subject: Subject) -> None:
    ann, ben = new_id(), new_id()
    chat_id = await subject.room(ann, ben)
    whole = await subject.ask(rpc.Sync(chat_id=chat_id, after=None))
    assert not whole.recovered
    assert set(whole.members) == {ann, ben} == set(whole.roles)
    assert [message.role for message in whole.messages] == ["user", "assistant"]
    assert whole.generation is not None
    assert whole.generation.message_id == whole.messages[-1].id
    since = await subject.ask(rpc.Sync(chat_id=chat_id, after=whole.version))
    assert (since.recovered, since.messages, since.version) == (True, [], whole.version)
    assert await refused(subject, rpc.Sync(chat_id=new_id(), after=None)) == "not_found"


async def test_versions_that_differ_are_named_with_the_current_ones(subject: Subject) -> None:
    chat_id, gone = await subject.room(new_id()), new_id()
    version = (await subject.ask(rpc.Sync(chat_id=chat_id, after=None))).version
    compare = rpc.Versions(chats={chat_id: version, gone: 1})
    assert (await subject.ask(compare)).moved == {gone: -1}
    assert (await subject.ask(rpc.Versions(chats={chat_id: version - 1}))).moved == {chat_id: version}
