"""Members, invitations and roles: who may do what in a chat, and what becomes of it."""

from collections.abc import Callable
from typing import Any, get_args

import pytest

from chat_store.domain import chats, generations, members, prompts
from chat_store.domain.conversation import Conversation
from chat_store.errors import Conflict, Forbidden, Invalid, NotFound, TooMany
from parley.contracts import limits
from parley.contracts.access import policy
from parley.contracts.access.policy import ChatAction
from parley.contracts.events import PromptSubmitted
from parley.contracts.resources import Role
from tests.unit.chat_store.tables import CHAT, START, Tables


@pytest.fixture
def tables() -> Tables:
    return Tables()


ROLES: tuple[Role | None, ...] = (*get_args(Role), None)


@pytest.mark.parametrize("role", ROLES)
def test_an_action_is_required_by_the_policy(tables: Tables, role: Role | None) -> None:
    user_id = "ann" if role == "owner" else "bob"
    if role == "writer" or role == "reader":
        tables.join("bob", role)
    refused = set()
    for action in get_args(ChatAction):
        try:
            tables.run(lambda chat, action=action: chat.require(user_id, action))  # type: ignore[misc]
        except (NotFound, Forbidden) as error:
            refused.add((action, type(error)))
    refusal = NotFound if role is None else Forbidden
    assert refused == {(action, refusal) for action in get_args(ChatAction) if not policy.may_in_chat(role, action)}


def test_an_invited_user_is_no_member_until_the_invitation_is_accepted(tables: Tables) -> None:
    tables.run(lambda chat: members.put(chat, "ann", "bob", "reader"))
    assert (set(tables.members), set(tables.invitations)) == ({"ann"}, {"bob"})
    assert not tables.history[-1].visible, "no reader sees an invitation"
    with pytest.raises(NotFound):
        tables.run(lambda chat: chat.require("bob", "read"))
    for _ in range(2):
        member = tables.run(lambda chat: members.accept(chat, "bob"))
        assert (member.user_id, member.role) == ("bob", "reader")
    assert (set(tables.members), set(tables.invitations)) == ({"ann", "bob"}, set())
    assert [change.visible for change in tables.history] == [False, True]


def test_an_invitation_is_changed_declined_and_withdrawn(tables: Tables) -> None:
    for role in ("reader", "writer", "writer"):
        tables.run(lambda chat, role=role: members.put(chat, "ann", "bob", role))  # type: ignore[misc]
    assert tables.invitations["bob"].role == "writer"
    assert len(tables.history) == 2
    tables.run(lambda chat: chat.remove_invitation("bob"))
    tables.run(lambda chat: chat.remove_invitation("bob"))
    assert tables.invitations == {}
    tables.run(lambda chat: members.put(chat, "ann", "bob", "writer"))
    tables.run(lambda chat: members.remove(chat, "ann", "bob"))
    assert tables.invitations == {}
    with pytest.raises(NotFound):
        tables.run(lambda chat: members.accept(chat, "bob"))


def test_nobody_invites_one_who_is_no_user_or_more_than_a_chat_takes(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound):
        tables.run(lambda chat: members.put(chat, "ann", "nobody", "writer"))
    monkeypatch.setattr(limits, "MAX_MEMBERS", 2)
    tables.run(lambda chat: members.put(chat, "ann", "bob", "writer"))
    with pytest.raises(TooMany):
        tables.run(lambda chat: members.put(chat, "ann", "cid", "writer"))
    tables.run(lambda chat: members.accept(chat, "bob"))
    with pytest.raises(TooMany):
        tables.run(lambda chat: members.put(chat, "ann", "cid", "writer"))
    tables.run(lambda chat: members.remove(chat, "bob", "bob"))
    tables.run(lambda chat: members.put(chat, "ann", "cid", "writer"))


def test_the_role_of_a_member_changes_at_once_and_the_owners_does_not(tables: Tables) -> None:
    tables.join("bob", "reader")
    before = len(tables.history)
    for _ in range(2):
        tables.run(lambda chat: members.put(chat, "ann", "bob", "writer"))
    assert tables.members["bob"].role == "writer"
    assert len(tables.history) == before + 1
    with pytest.raises(Forbidden):
        tables.run(lambda chat: members.put(chat, "ann", "ann", "reader"))
    with pytest.raises(Invalid):
        tables.run(lambda chat: members.put(chat, "ann", "bob", "owner"))


def test_the_owner_removes_members_and_members_leave(tables: Tables) -> None:
    tables.join("bob", "reader")
    tables.join("cid")
    for user_id, member_id in (("bob", "cid"), ("cid", "ann"), ("ann", "ann")):
        with pytest.raises(Forbidden):
            tables.run(lambda chat, a=user_id, b=member_id: members.remove(chat, a, b))  # type: ignore[misc]
    with pytest.raises(NotFound):
        tables.run(lambda chat: members.remove(chat, "eve", "eve"))
    tables.run(lambda chat: members.remove(chat, "bob", "bob"))
    assert tables.history[-1].members_removed == ["bob"]
    before = len(tables.history)
    tables.run(lambda chat: members.remove(chat, "ann", "bob"))
    assert len(tables.history) == before, "removed again"
    tables.run(lambda chat: members.remove(chat, "ann", "cid"))
    assert set(tables.members) == {"ann"}


def test_a_chat_is_handed_over_to_a_member_and_its_owner_becomes_a_writer(tables: Tables) -> None:
    tables.join("bob", "reader")
    tables.run(lambda chat: members.put(chat, "ann", "cid", "writer"))
    for member_id in ("cid", "eve"):
        with pytest.raises(Conflict):
            tables.run(lambda chat, member_id=member_id: members.hand_over(chat, "ann", member_id))  # type: ignore[misc]
    with pytest.raises(Forbidden):
        tables.run(lambda chat: members.hand_over(chat, "bob", "bob"))
    tables.run(lambda chat: members.hand_over(chat, "ann", "ann"))
    tables.run(lambda chat: members.hand_over(chat, "ann", "bob"))
    assert {member.user_id: member.role for member in tables.members.values()} == {"ann": "writer", "bob": "owner"}
    assert tables.chat is not None
    assert tables.chat.owner_id == "bob"
    assert tables.history[-1].visible
    with pytest.raises(Forbidden):
        tables.run(lambda chat: members.hand_over(chat, "ann", "ann"))
    tables.run(lambda chat: members.remove(chat, "ann", "ann"))


def _submit(user_id: str) -> Callable[[Conversation], str]:
    event = PromptSubmitted(
        chat_id=CHAT, message_id="00000000-0000-7000-8000-000000000099", user_id=user_id, content="x", occurred_at=START
    )
    return lambda chat: prompts.submit(chat, event)


def test_a_prompt_of_a_reader_or_of_no_member_is_not_stored(tables: Tables) -> None:
    tables.join("bob", "reader")
    assert tables.run(_submit("bob")) == "read_only"
    assert tables.run(_submit("eve")) == "not_a_member"
    assert tables.messages == {}
    tables.run(lambda chat: members.put(chat, "ann", "bob", "writer"))
    assert tables.run(_submit("bob")) == "started"


def test_a_queued_prompt_is_deleted_by_its_author_or_the_owner(tables: Tables) -> None:
    tables.join("bob")
    tables.join("cid")
    tables.submit()
    waiting = [tables.submit(user_id=user_id) for user_id in ("bob", "bob", "bob", "ann")]

    def delete(user_id: str, prompt_id: str) -> None:
        tables.run(lambda chat: prompts.delete_queued(chat, user_id, prompt_id))

    for user_id, prompt_id in (("cid", waiting[0]), ("bob", waiting[3])):
        with pytest.raises(Forbidden):
            delete(user_id, prompt_id)
    delete("bob", waiting[0])
    delete("ann", waiting[1])
    tables.run(lambda chat: members.put(chat, "ann", "bob", "reader"))
    with pytest.raises(Forbidden):
        delete("bob", waiting[2])
    with pytest.raises(NotFound):
        delete("eve", waiting[2])
    assert [message.id for message in tables.queued] == waiting[2:]


def test_a_reader_changes_nothing_in_a_chat(tables: Tables) -> None:
    tables.join("bob", "reader")
    before = len(tables.history)
    acts: list[Callable[[Conversation], Any]] = [
        lambda chat: members.put(chat, "bob", "cid", "reader"),
        lambda chat: members.put(chat, "bob", "bob", "writer"),
        lambda chat: members.remove(chat, "bob", "ann"),
        lambda chat: prompts.delete_queued(chat, "bob", chat.new_id()),
    ]
    for act in acts:
        with pytest.raises(Forbidden):
            tables.run(act)
    assert len(tables.history) == before


def test_what_a_former_owner_started_goes_on(tables: Tables) -> None:
    tables.join("bob")
    tables.submit()
    tables.run(lambda chat: members.hand_over(chat, "ann", "bob"))
    tables.answer()
    assert tables.usage[-1].user_id == "ann"
    tables.submit(user_id="bob")
    tables.run(lambda chat: generations.stop(chat, None))
    tables.run(chats.delete)
    assert tables.chat is None
