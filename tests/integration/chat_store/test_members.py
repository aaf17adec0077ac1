"""Members, invitations and roles, over the bus."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from parley.contracts import ids, rpc
from parley.contracts.access.identity import UpdateUser
from parley.runtime.nats.errors import RpcRefused
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.people import guest, sign_in
from tests.integration.chat_store.test_accepted import rejections
from tests.support.waiting import eventually


async def refusal(store: Neighbour, request: rpc.Request[Any]) -> RpcRefused:
    with pytest.raises(RpcRefused) as refused:
        await store.ask(request)
    return refused.value


async def members_of(store: Neighbour, chat_id: str, user_id: str) -> list[tuple[str, str, str]]:
    found = await store.ask(rpc.ListMembers(user_id=user_id, chat_id=chat_id))
    return [(member.user_id, member.role, member.status) for member in found.items]


async def test_an_invited_user_sees_the_invitation_and_nothing_of_the_chat_until_it_is_accepted(
    store: Neighbour,
) -> None:
    owner = (await sign_in(store, ids.new_id(), name="Ann")).user.id
    invited = (await sign_in(store, ids.new_id(), name="Bob")).user.id
    chat_id = await store.chat(owner, title="Plans")
    prompt_id = await store.say(chat_id, "a secret", user_id=owner)
    await store.request_for(chat_id)
    put = rpc.PutMember(user_id=owner, chat_id=chat_id, member_id=invited, role="reader")
    member = (await store.ask(put)).member
    assert (member.user_id, member.role, member.status, member.name) == (invited, "reader", "invited", "Bob")
    assert (await store.ask(put)).member == member

    (invitation,) = (await store.ask(rpc.ListInvitations(user_id=invited))).items
    assert (invitation.chat_id, invitation.title, invitation.role) == (chat_id, "Plans", "reader")
    assert (invitation.invited_by, invitation.invited_by_name) == (owner, "Ann")
    who: dict[str, Any] = {"user_id": invited, "chat_id": chat_id}
    for request in (
        rpc.CheckAccess(**who),
        rpc.GetChat(**who),
        rpc.ListMessages(**who),
        rpc.ListMembers(**who),
        rpc.GetMessage(**who, message_id=prompt_id),
        rpc.Stop(**who),
        rpc.DeleteMember(**who, member_id=invited),
    ):
        assert (await refusal(store, request)).code == "not_found", request
    assert (await store.ask(rpc.ListChats(user_id=invited))).items == []
    assert (await store.ask(rpc.Search(user_id=invited, query="secret"))).items == []
    assert (await store.sync(chat_id)).members == [owner]
    assert await members_of(store, chat_id, owner) == [(owner, "owner", "member"), (invited, "reader", "invited")]

    for _ in range(2):
        accepted = (await store.ask(rpc.AcceptInvitation(**who))).member
        assert (accepted.user_id, accepted.role, accepted.status) == (invited, "reader", "member")
    assert (await store.ask(rpc.ListInvitations(user_id=invited))).items == []
    assert (await store.ask(rpc.CheckAccess(**who))).role == "reader"
    assert len(await store.messages(chat_id, user_id=invited)) == 2
    assert sorted((await store.sync(chat_id)).members) == sorted([owner, invited])
    await eventually(lambda: [one.chat_id for one in store.lists.get(invited, [])] == [chat_id])


async def test_invitations_are_listed_to_the_owner_only(store: Neighbour) -> None:
    chat_id = await store.chat()
    writer, invited = ids.new_id(), await guest(store)
    await store.join(chat_id, writer)
    await store.ask(rpc.PutMember(user_id="ann", chat_id=chat_id, member_id=invited))
    assert await members_of(store, chat_id, writer) == [("ann", "owner", "member"), (writer, "writer", "member")]
    assert len(await members_of(store, chat_id, "ann")) == 3


async def test_an_invitation_that_is_declined_or_withdrawn_is_over(store: Neighbour) -> None:
    chat_id, invited = await store.chat(), await guest(store)
    put = rpc.PutMember(user_id="ann", chat_id=chat_id, member_id=invited)
    decline = rpc.DeclineInvitation(user_id=invited, chat_id=chat_id)
    withdraw = rpc.DeleteMember(user_id="ann", chat_id=chat_id, member_id=invited)
    for end in (decline, withdraw):
        await store.ask(put)
        for _ in range(2):
            await store.ask(end)
        accept = rpc.AcceptInvitation(user_id=invited, chat_id=chat_id)
        assert (await refusal(store, accept)).code == "not_found"
        assert await members_of(store, chat_id, "ann") == [("ann", "owner", "member")]


async def test_whoever_is_not_invited_gets_the_same_reply_whether_or_not_the_chat_exists(store: Neighbour) -> None:
    chat_id, nobodys, user_id = await store.chat(), ids.new_id(), await guest(store)

    async def replies(chat: str) -> list[Any]:
        accept = await refusal(store, rpc.AcceptInvitation(user_id=user_id, chat_id=chat))
        decline = await store.ask(rpc.DeclineInvitation(user_id=user_id, chat_id=chat))
        put = await refusal(store, rpc.PutMember(user_id=user_id, chat_id=chat, member_id=user_id))
        hand_over = await refusal(store, rpc.HandOver(user_id=user_id, chat_id=chat, member_id=user_id))
        return [(accept.code, str(accept)), decline, (put.code, str(put)), (hand_over.code, str(hand_over))]

    assert await replies(chat_id) == await replies(nobodys)


async def test_ids_that_are_no_users_and_disabled_users_are_refused(store: Neighbour) -> None:
    chat_id, disabled = await store.chat(), await guest(store)
    await store.ask(UpdateUser(user_id=disabled, disabled=True))
    for member_id in (ids.new_id(), "", "\x00", "ann; DROP TABLE users", disabled):
        request = rpc.PutMember(user_id="ann", chat_id=chat_id, member_id=member_id)
        assert (await refusal(store, request)).code == "not_found"
    assert await members_of(store, chat_id, "ann") == [("ann", "owner", "member")]


async def test_a_reader_reads_and_changes_nothing(store: Neighbour) -> None:
    rejected = await rejections(store)
    chat_id, reader = await store.chat(title="Ann's"), ids.new_id()
    await store.join(chat_id, reader, "reader")
    await store.say(chat_id)
    claimed = await store.claimed(await store.request_for(chat_id))
    queued = await store.say(chat_id, "queued")
    await eventually(lambda: store.message(chat_id, queued))
    who: dict[str, Any] = {"user_id": reader, "chat_id": chat_id}
    for request in (
        rpc.UpdateChat(**who, title="mine now"),
        rpc.DeleteChat(**who),
        rpc.Regenerate(**who, message_id=claimed.message_id, answer_id=ids.new_id()),
        rpc.DeleteMessage(**who, message_id=queued),
        rpc.Stop(**who),
        rpc.PutMember(**who, member_id=reader, role="writer"),
        rpc.DeleteMember(**who, member_id="ann"),
        rpc.HandOver(**who, member_id=reader),
    ):
        assert (await refusal(store, request)).code == "forbidden", request
    prompt_id = await store.say(chat_id, "not stored", user_id=reader)
    await eventually(lambda: [one.error.code for one in rejected if one.message_id == prompt_id] == ["read_only"])
    message = (await store.ask(rpc.GetMessage(**who, message_id=prompt_id))).message
    assert (message.status, message.content) == ("rejected", "")
    assert len(await store.messages(chat_id, user_id=reader)) == 3
    assert (await store.get(chat_id, user_id=reader)).title == "Ann's"

    await store.ask(rpc.PutMember(user_id="ann", chat_id=chat_id, member_id=reader, role="writer"))
    await store.ask(rpc.Stop(**who))
    await store.ask(rpc.DeleteMember(**who, member_id=reader))
    prompt_id = await store.say(chat_id, "not stored", user_id=reader)
    await eventually(lambda: [one.error.code for one in rejected if one.message_id == prompt_id] == ["not_a_member"])


async def test_a_queued_prompt_is_deleted_by_its_author_or_the_owner_only(store: Neighbour) -> None:
    chat_id, author, other = await store.chat(), ids.new_id(), ids.new_id()
    for user_id in (author, other):
        await store.join(chat_id, user_id)
    await store.say(chat_id)
    await store.request_for(chat_id)
    queued = [await store.say(chat_id, text, user_id=author) for text in ("one", "two")]

    def delete(user_id: str, message_id: str) -> rpc.DeleteMessage:
        return rpc.DeleteMessage(user_id=user_id, chat_id=chat_id, message_id=message_id)

    assert (await refusal(store, delete(other, queued[0]))).code == "forbidden"
    await store.ask(delete(author, queued[0]))
    await store.ask(delete("ann", queued[1]))


@pytest.mark.parametrize("change", ["removed", "reader", "disabled"])
async def test_the_provider_is_not_called_for_who_may_write_no_more_since_the_prompt_was_queued(
    store: Neighbour, change: str
) -> None:
    chat_id, author = await store.chat(), ids.new_id()
    await store.join(chat_id, author)
    await store.say(chat_id)
    running = await store.request_for(chat_id)
    queued = await store.say(chat_id, "queued", user_id=author)
    await eventually(lambda: store.message(chat_id, queued))
    match change:
        case "removed":
            await store.ask(rpc.DeleteMember(user_id="ann", chat_id=chat_id, member_id=author))
        case "reader":
            await store.ask(rpc.PutMember(user_id="ann", chat_id=chat_id, member_id=author, role="reader"))
        case _:
            await store.ask(UpdateUser(user_id=author, disabled=True))
    await store.finish(await store.claimed(running))
    claimed = await store.claimed(await store.request_for(chat_id, number=2))
    assert (claimed.verdict, claimed.context) == ("exhausted", [])
    assert claimed.error is not None
    assert claimed.error.code == "not_a_member"
    # Whoever may write can ask for the answer.
    await store.finish(claimed, "", outcome="failed", error=claimed.error)

    async def failed() -> bool:
        answer = await store.message(chat_id, claimed.message_id)
        return answer is not None and answer.status == "failed"

    await eventually(failed)
    await store.ask(rpc.Regenerate(user_id="ann", chat_id=chat_id, message_id=queued, answer_id=ids.new_id()))
    assert (await store.claimed(await store.request_for(chat_id, number=3))).verdict == "stream"


async def test_an_invited_user_is_informed_of_each_change_of_the_invitation(store: Neighbour) -> None:
    chat_id = await store.chat()
    for last in ("accept", "decline", "withdraw"):
        invited, seen = await guest(store), 0

        async def informed(request: rpc.Request[Any]) -> None:
            nonlocal seen
            await store.ask(request)
            seen += 1
            await eventually(lambda: store.invited.count(invited) == seen)  # noqa: B023

        await informed(rpc.PutMember(user_id="ann", chat_id=chat_id, member_id=invited))
        await informed(rpc.PutMember(user_id="ann", chat_id=chat_id, member_id=invited, role="reader"))
        ends: dict[str, rpc.Request[Any]] = {
            "accept": rpc.AcceptInvitation(user_id=invited, chat_id=chat_id),
            "decline": rpc.DeclineInvitation(user_id=invited, chat_id=chat_id),
            "withdraw": rpc.DeleteMember(user_id="ann", chat_id=chat_id, member_id=invited),
        }
        await informed(ends[last])
    assert "ann" not in store.invited


async def test_readers_are_sent_the_roles_of_members_who_are_new_or_have_another(store: Neighbour) -> None:
    chat_id, member = await store.chat(), ids.new_id()

    def roles() -> list[dict[str, str]]:
        return [dict(one.roles) for one in store.changed if one.chat_id == chat_id]

    await store.join(chat_id, member, "reader")
    await store.ask(rpc.PutMember(user_id="ann", chat_id=chat_id, member_id=member, role="writer"))
    await store.ask(rpc.HandOver(user_id="ann", chat_id=chat_id, member_id=member))
    await store.ask(rpc.DeleteMember(user_id=member, chat_id=chat_id, member_id="ann"))
    expected = [{member: "reader"}, {member: "writer"}, {member: "owner", "ann": "writer"}, {}]
    await eventually(lambda: roles() == expected)


async def test_a_chat_that_is_handed_over_has_the_one_new_owner(store: Neighbour) -> None:
    chat_id, member, invited = await store.chat(), ids.new_id(), await guest(store)
    await store.join(chat_id, member, "reader")
    await store.ask(rpc.PutMember(user_id="ann", chat_id=chat_id, member_id=invited))
    hand_over = rpc.HandOver(user_id="ann", chat_id=chat_id, member_id=invited)
    assert (await refusal(store, hand_over)).code == "conflict"
    chat = (await store.ask(rpc.HandOver(user_id="ann", chat_id=chat_id, member_id=member))).chat
    assert chat.owner_id == member
    assert chat == await store.get(chat_id)
    assert (await members_of(store, chat_id, "ann"))[0] == (member, "owner", "member")
    assert (await store.ask(rpc.CheckAccess(user_id="ann", chat_id=chat_id))).role == "writer"
    again = rpc.HandOver(user_id="ann", chat_id=chat_id, member_id=member)
    assert (await refusal(store, again)).code == "forbidden"
    await store.ask(rpc.DeleteMember(user_id=member, chat_id=chat_id, member_id="ann"))
    await eventually(lambda: [one for one in store.changed if one.removed_members == ["ann"]])
    await store.ask(rpc.DeleteChat(user_id=member, chat_id=chat_id))
    await store.ask(rpc.DeleteChat(user_id=member, chat_id=chat_id))


async def test_a_member_of_an_earlier_program_is_a_writer(store: Neighbour, module_database_url: str) -> None:
    chat_id = await store.chat()
    connection = await asyncpg.connect(module_database_url)
    try:
        await connection.execute("INSERT INTO members VALUES ($1, 'old', 'member', now())", chat_id)
    finally:
        await connection.close()
    assert (await store.ask(rpc.CheckAccess(user_id="old", chat_id=chat_id))).role == "writer"
    found = (await store.ask(rpc.ListMembers(user_id="old", chat_id=chat_id))).items
    assert [(member.user_id, member.role) for member in found] == [("ann", "owner"), ("old", "writer")]
    await store.say(chat_id, user_id="old")
    await store.request_for(chat_id)
    await store.ask(rpc.PutMember(user_id="ann", chat_id=chat_id, member_id="old", role="reader"))
    assert (await store.ask(rpc.CheckAccess(user_id="old", chat_id=chat_id))).role == "reader"
