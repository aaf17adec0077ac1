"""What the gateway and push may ask, and who may ask it."""

from typing import Any

import msgspec
import pytest

from parley.contracts import ids, limits, rpc, subjects
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from parley.runtime.nats.requests import ask
from tests.integration.chat_store.client import Neighbour
from tests.support.waiting import eventually

NOBODYS = ids.new_id()


def _verbs(chat_id: str, user_id: str) -> list[rpc.Request[Any]]:
    """Every request about a chat, as ``user_id`` would make it."""
    who: dict[str, Any] = {"user_id": user_id, "chat_id": chat_id}
    return [
        rpc.CheckAccess(**who),
        rpc.GetChat(**who),
        rpc.UpdateChat(**who, title="mine now"),
        rpc.DeleteChat(**who),
        rpc.ListMessages(**who),
        rpc.Regenerate(**who, message_id=ids.new_id(), answer_id=ids.new_id()),
        rpc.DeleteMessage(**who, message_id=ids.new_id()),
        rpc.Stop(**who),
        rpc.ListMembers(**who),
        rpc.PutMember(**who, member_id="bob"),
        rpc.DeleteMember(**who, member_id="ann"),
        rpc.DeleteMember(**who, member_id="bob"),
        rpc.HandOver(**who, member_id="bob"),
        rpc.AcceptInvitation(**{**who, "user_id": "bob"}),
    ]


@pytest.mark.parametrize("number", range(len(_verbs(NOBODYS, "bob"))))
async def test_somebody_elses_chat_is_like_none(store: Neighbour, number: int) -> None:
    chat_id = await store.chat(title="Ann's")
    await store.say(chat_id)
    await store.request_for(chat_id)
    for target, user_id in ((chat_id, "bob"), (NOBODYS, "ann"), ("not-an-id", "ann"), (chat_id.upper(), "ann")):
        request = _verbs(target, user_id)[number]
        with pytest.raises(RpcRefused) as refused:
            await store.ask(request)
        assert refused.value.code == "not_found", request
    chat = await store.get(chat_id)
    assert (chat.title, chat.running) == ("Ann's", True)


async def test_what_only_the_owner_may_do(store: Neighbour) -> None:
    chat_id = await store.chat()
    member = await store.join(chat_id, "bob")
    assert (member.user_id, member.role) == ("bob", "writer")
    who: dict[str, Any] = {"user_id": "bob", "chat_id": chat_id}
    requests: list[rpc.Request[Any]] = [
        rpc.DeleteChat(**who),
        rpc.PutMember(**who, member_id="cid"),
        rpc.DeleteMember(**who, member_id="ann"),
        rpc.HandOver(**who, member_id="bob"),
    ]
    for request in requests:
        with pytest.raises(RpcRefused) as refused:
            await store.ask(request)
        assert refused.value.code == "forbidden"
    assert (await store.ask(rpc.CheckAccess(**who))).role == "writer"
    await store.say(chat_id, "from bob", user_id="bob")
    claimed = await store.claimed(await store.request_for(chat_id))
    await store.finish(claimed)
    await eventually(lambda: _usage(store, "bob"))

    await store.ask(rpc.DeleteMember(user_id="ann", chat_id=chat_id, member_id="bob"))
    with pytest.raises(RpcRefused):
        await store.ask(rpc.GetChat(**who))
    await eventually(lambda: [one for one in store.changed if one.removed_members == ["bob"]])
    members = await store.ask(rpc.ListMembers(user_id="ann", chat_id=chat_id))
    assert [(one.user_id, one.role) for one in members.items] == [("ann", "owner")]


async def _usage(store: Neighbour, user_id: str) -> list[Any]:
    return (await store.ask(rpc.GetUsage(user_id=user_id))).items


async def test_tokens_are_summed_by_model_and_outlive_the_chat(store: Neighbour) -> None:
    user_id = ids.new_id()
    chat_id = await store.chat(user_id)
    for number in (1, 2):
        await store.say(chat_id, user_id=user_id)
        claimed = await store.claimed(await store.request_for(chat_id, number=number))
        await store.finish(claimed, model=f"model-{number % 2}")

    async def both() -> list[Any] | None:
        found = await _usage(store, user_id)
        return found if len(found) == 2 else None

    lines = await eventually(both)
    assert lines is not None
    await store.ask(rpc.DeleteChat(user_id=user_id, chat_id=chat_id))
    assert await _usage(store, user_id) == lines
    assert [(one.model, one.answers, one.input_tokens, one.output_tokens) for one in lines] == [
        ("model-0", 1, 3, 5),
        ("model-1", 1, 3, 5),
    ]


async def test_creating_a_chat_again_gives_the_same_one(store: Neighbour) -> None:
    chat_id = ids.new_id()
    first = await store.ask(rpc.CreateChat(user_id="ann", chat_id=chat_id, title="One"))
    again = await store.ask(rpc.CreateChat(user_id="ann", chat_id=chat_id, title="Two"))
    assert first == again
    assert (first.chat.version, first.chat.title, first.chat.running, first.chat.tip_id) == (1, "One", False, None)
    for request, code in (
        (rpc.CreateChat(user_id="bob", chat_id=chat_id), "conflict"),
        (rpc.CreateChat(user_id="bob", chat_id="no"), "invalid"),
    ):
        with pytest.raises(RpcRefused) as refused:
            await store.ask(request)
        assert refused.value.code == code


async def test_chats_are_listed_by_page_the_last_changed_first(store: Neighbour) -> None:
    user_id = ids.new_id()
    chats = [await store.chat(user_id) for _ in range(5)]
    await store.ask(rpc.UpdateChat(user_id=user_id, chat_id=chats[1], title="newest"))
    seen: list[str] = []
    before: str | None = None
    while True:
        page = await store.ask(rpc.ListChats(user_id=user_id, before=before, limit=2))
        seen.extend(chat.id for chat in page.items)
        before = page.next
        if before is None:
            break
    assert seen == [chats[1], chats[4], chats[3], chats[2], chats[0]]
    with pytest.raises(RpcRefused) as refused:
        await store.ask(rpc.ListChats(user_id=user_id, before="bm9uc2Vuc2U"))
    assert refused.value.code == "invalid"


async def test_messages_are_listed_by_page_oldest_first_within_one(store: Neighbour) -> None:
    chat_id = await store.chat()
    for number in range(1, 4):
        await store.say(chat_id, f"prompt {number}")
        await store.answer(chat_id, f"answer {number}", number=number)
    page = await store.ask(rpc.ListMessages(user_id="ann", chat_id=chat_id, limit=4))
    assert [one.content for one in page.items] == ["prompt 2", "answer 2", "prompt 3", "answer 3"]
    rest = await store.ask(rpc.ListMessages(user_id="ann", chat_id=chat_id, limit=4, before=page.next))
    assert [one.content for one in rest.items] == ["prompt 1", "answer 1"]
    assert rest.next is None


async def test_an_update_changes_what_is_named(store: Neighbour) -> None:
    chat_id = await store.chat(title="a", model="b", system_prompt="c")
    reply = await store.ask(rpc.UpdateChat(user_id="ann", chat_id=chat_id, model=None, title="x"))
    assert (reply.chat.title, reply.chat.model, reply.chat.system_prompt) == ("x", None, "c")
    assert reply.chat == await store.get(chat_id)
    with pytest.raises(RpcRefused) as refused:
        await store.ask(rpc.UpdateChat(user_id="ann", chat_id=chat_id, tip_id=ids.new_id()))
    assert refused.value.code == "invalid"


async def test_sync_tells_a_room_everything_and_later_only_what_changed(store: Neighbour) -> None:
    chat_id = await store.chat()
    empty = await store.sync(chat_id)
    assert (empty.version, empty.recovered, empty.messages, empty.generation, empty.members) == (
        1,
        False,
        [],
        None,
        ["ann"],
    )
    first = await store.say(chat_id, "first")
    await store.answer(chat_id)
    before = await store.sync(chat_id)
    assert [one.content for one in before.messages] == ["first", "an answer"]
    second = await store.say(chat_id, "second")
    claimed = await store.claimed(await store.request_for(chat_id, number=2))
    after = await store.sync(chat_id, after=before.version)
    assert after.recovered
    assert [one.id for one in after.messages] == [second, claimed.message_id]
    assert after.generation is not None
    assert (after.generation.generation_id, after.generation.attempt, after.generation.status) == (
        claimed.generation_id,
        1,
        "running",
    )
    same = await store.sync(chat_id, after=after.version)
    assert (same.recovered, same.messages, same.version) == (True, [], after.version)
    ahead = await store.sync(chat_id, after=after.version + 5)
    assert not ahead.recovered
    assert ahead.messages[0].id == first
    with pytest.raises(RpcRefused) as refused:
        await store.sync(NOBODYS)
    assert refused.value.code == "not_found"


async def test_versions_names_the_chats_that_moved(store: Neighbour) -> None:
    still, moved = await store.chat(), await store.chat()
    await store.ask(rpc.UpdateChat(user_id="ann", chat_id=moved, title="x"))
    reply = await store.ask(rpc.Versions(chats={still: 1, moved: 1, NOBODYS: 7, "nonsense": 1}))
    assert reply.moved == {moved: 2, NOBODYS: -1, "nonsense": -1}


async def test_search_finds_words_by_their_beginning_in_ones_own_chats(store: Neighbour) -> None:
    user_id, other = ids.new_id(), ids.new_id()
    for who in (user_id, other):
        chat_id = await store.chat(who, title="Fruit")
        await store.say(chat_id, "Which Quinces are ripe in autumn? " + "padding " * 200, user_id=who)
        claimed = await store.claimed(await store.request_for(chat_id))
        await store.finish(claimed, "Quince 50% ripe; quince! quince, and 日本語のテキスト.")
    found = await eventually(lambda: _hits(store, user_id, "quince", 2))
    assert found is not None
    assert [one.role for one in found] == ["assistant", "user"]
    assert found[0].chat_title == "Fruit"
    assert "Quinces are ripe" in found[1].excerpt
    assert len(found[1].excerpt) < 400
    assert [one.role for one in await _search(store, user_id, "ripe autu")] == ["user"]
    assert [one.role for one in await _search(store, user_id, "50%")] == ["assistant"]
    assert [one.role for one in await _search(store, user_id, "語のテ")] == ["assistant"]
    assert await _search(store, user_id, "' ) | & :* \\ %_") == []
    assert await _search(store, user_id, "  ") == []
    assert await _search(store, ids.new_id(), "quince") == []

    for text in ("quince", "e"):
        pages: list[str] = []
        before: str | None = None
        while True:
            page = await store.ask(rpc.Search(user_id=user_id, query=text, limit=1, before=before))
            pages.extend(one.message_id for one in page.items)
            before = page.next
            if before is None:
                break
        assert sorted(pages) == sorted({one.message_id for one in found})


async def _search(store: Neighbour, user_id: str, query: str) -> list[rpc.SearchHit]:
    return (await store.ask(rpc.Search(user_id=user_id, query=query))).items


async def _hits(store: Neighbour, user_id: str, query: str, count: int) -> list[rpc.SearchHit] | None:
    found = await _search(store, user_id, query)
    return found if len(found) == count else None


@pytest.mark.parametrize("body", [b"", b"{", b"null", b'{"user_id": 1, "chat_id": null}', b"\xff\xfe"])
async def test_a_request_that_does_not_decode_is_refused(store: Neighbour, body: bytes) -> None:
    for verb in ("get_chat", "sync", "claim"):
        message = await store.nc.request(subjects.rpc_store(verb), body, timeout=5)
        assert msgspec.json.decode(message.data, type=rpc.RpcError).code == "invalid"


async def test_the_largest_chat_and_page_fit_a_reply(store: Neighbour) -> None:
    user_id = ids.new_id()
    chat_id = await store.chat(
        user_id,
        title="\x01" * limits.MAX_TITLE_LENGTH,
        system_prompt="\x01" * limits.MAX_SYSTEM_PROMPT_BYTES,
    )
    for _ in range(7):
        await store.chat(user_id, system_prompt="\x01" * limits.MAX_SYSTEM_PROMPT_BYTES)
    await store.say(chat_id, "\x01" * limits.MAX_PROMPT_BYTES, user_id=user_id)
    request = await store.request_for(chat_id)
    claimed = await store.claimed(request)
    assert len(claimed.context) == 2
    reply = await store.sync(chat_id)
    assert reply.next is not None or reply.messages
    page = await store.ask(rpc.ListMessages(user_id=user_id, chat_id=chat_id, limit=100))
    assert page.items
    first = await store.ask(rpc.ListChats(user_id=user_id, limit=100))
    assert first.next is not None
    with pytest.raises(BusUnavailable):
        await ask(store.nc, rpc.GetUsage(user_id="x"), subject="rpc.store.nonsense", timeout=1)
