"""What the lists of a chat's members are sent, from its creation to its end."""

from __future__ import annotations

from parley.contracts import ids, rpc
from parley.contracts.live import ListChanged
from tests.integration.chat_store.client import Neighbour
from tests.support.waiting import eventually


def changes_sent(store: Neighbour, user_id: str, chat_id: str) -> list[ListChanged]:
    return [changed for changed in store.lists.get(user_id, []) if changed.chat_id == chat_id]


def shown(changed: ListChanged) -> tuple[str | None, bool] | None:
    return None if changed.chat is None else (changed.chat.title, changed.chat.running)


async def test_a_list_is_sent_everything_that_it_shows_of_a_chat(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id, "What is a list?")
    claimed = await store.claimed(await store.request_for(chat_id))
    await store.finish(claimed)
    await eventually(lambda: len(changes_sent(store, "ann", chat_id)) == 3)
    await store.ask(rpc.UpdateChat(user_id="ann", chat_id=chat_id, title="Lists"))
    await store.ask(rpc.DeleteChat(user_id="ann", chat_id=chat_id))
    await eventually(lambda: len(changes_sent(store, "ann", chat_id)) == 5)
    assert [shown(changed) for changed in changes_sent(store, "ann", chat_id)] == [
        (None, False),
        ("What is a list?", True),
        ("What is a list?", False),
        ("Lists", False),
        None,
    ]
    versions = [changed.version for changed in changes_sent(store, "ann", chat_id)]
    assert versions == sorted(set(versions))


async def test_a_chat_that_is_created_twice_is_new_once(store: Neighbour) -> None:
    request = rpc.CreateChat(user_id="ann", chat_id=ids.new_id())
    for _ in range(2):
        await store.ask(request)
    await store.ask(rpc.UpdateChat(user_id="ann", chat_id=request.chat_id, title="Once"))
    await eventually(lambda: len(changes_sent(store, "ann", request.chat_id)) == 2)
    assert [shown(changed) for changed in changes_sent(store, "ann", request.chat_id)] == [
        (None, False),
        ("Once", False),
    ]


async def test_members_are_informed_from_when_they_are_let_in_until_they_are_removed(store: Neighbour) -> None:
    member = ids.new_id()
    chat_id = await store.chat(title="Shared")
    await store.join(chat_id, member)
    await store.ask(rpc.UpdateChat(user_id=member, chat_id=chat_id, title="Ours"))
    await store.ask(rpc.DeleteMember(user_id="ann", chat_id=chat_id, member_id=member))
    await store.ask(rpc.UpdateChat(user_id="ann", chat_id=chat_id, title="Mine"))
    await eventually(lambda: len(changes_sent(store, "ann", chat_id)) == 5)
    assert [shown(changed) for changed in changes_sent(store, member, chat_id)] == [
        ("Shared", False),
        ("Ours", False),
        None,
    ]


async def test_a_deleted_chat_leaves_the_list_of_every_member(store: Neighbour) -> None:
    member = ids.new_id()
    chat_id = await store.chat()
    await store.join(chat_id, member)
    await store.ask(rpc.DeleteChat(user_id="ann", chat_id=chat_id))
    for user_id in ("ann", member):
        await eventually(lambda: [shown(one) for one in changes_sent(store, user_id, chat_id)][-1:] == [None])  # noqa: B023
