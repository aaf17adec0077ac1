"""Share links: who makes them, and what they show."""

from __future__ import annotations

from typing import Any

import pytest

from parley.contracts import ids, rpc
from parley.contracts.access.identity import digest
from parley.runtime.nats.errors import RpcRefused
from tests.integration.chat_store.client import Neighbour
from tests.support.waiting import eventually


async def link(store: Neighbour, chat_id: str, *, user_id: str = "ann", **fields: Any) -> tuple[str, str]:
    """Create a link and return its id and its token."""
    token = ids.new_id()
    fields.setdefault("live", False)
    request = rpc.CreateShareLink(
        user_id=user_id, chat_id=chat_id, share_id=ids.new_id(), token_digest=digest(token), **fields
    )
    return (await store.ask(request)).link.id, token


async def shown(store: Neighbour, token: str) -> list[str]:
    """Read all pages of what a link shows."""
    texts: list[str] = []
    after: int | None = None
    while True:
        page = await store.ask(rpc.GetShared(token_digest=digest(token), after=after))
        texts += [message.content for message in page.items]
        if page.next is None:
            return texts
        after = page.next


async def exchange(store: Neighbour, chat_id: str, prompt: str, *, number: int, **fields: Any) -> str:
    """A prompt and its answer; return the prompt's id."""
    prompt_id = await store.say(chat_id, prompt, **fields)
    await store.answer(chat_id, f"answer to {prompt}", number=number)
    return prompt_id


async def code_of(store: Neighbour, request: rpc.Request[Any]) -> str:
    with pytest.raises(RpcRefused) as refused:
        await store.ask(request)
    return refused.value.code


async def test_a_link_shows_the_branch_as_it_was_and_a_live_one_what_follows(store: Neighbour) -> None:
    chat_id = await store.chat(title="trains")
    await exchange(store, chat_id, "one", number=1)
    _, frozen = await link(store, chat_id)
    _, live = await link(store, chat_id, live=True)
    await exchange(store, chat_id, "two", number=2)
    assert await shown(store, frozen) == ["one", "answer to one"]
    assert await shown(store, live) == ["one", "answer to one", "two", "answer to two"]
    page = await store.ask(rpc.GetShared(token_digest=digest(frozen)))
    assert page.title == "trains"
    assert [message.role for message in page.items] == ["user", "assistant"]


async def test_a_live_link_to_a_branch_follows_that_branch(store: Neighbour) -> None:
    chat_id = await store.chat()
    first = await exchange(store, chat_id, "first", number=1)
    second = await exchange(store, chat_id, "second", number=2, parent_id=None)
    _, token = await link(store, chat_id, live=True, tip_id=first)
    assert await shown(store, token) == ["first", "answer to first"]
    answers = [one.id for one in await store.messages(chat_id) if one.parent_id == first]
    await exchange(store, chat_id, "first goes on", number=3, parent_id=answers[0])
    assert (await shown(store, token))[-2:] == ["first goes on", "answer to first goes on"]
    _, other = await link(store, chat_id, tip_id=second)
    assert await shown(store, other) == ["second"], "it ends with its tip"


async def test_a_running_answer_is_shown_once_it_has_ended(store: Neighbour) -> None:
    chat_id = await store.chat()
    await store.say(chat_id, "question")
    request = await store.request_for(chat_id)
    _, token = await link(store, chat_id)
    assert await shown(store, token) == ["question"]
    await store.finish(await store.claimed(request), "the end")

    async def ended() -> bool:
        return (await store.sync(chat_id)).generation is None

    await eventually(ended, what="the answer being stored")
    assert await shown(store, token) == ["question", "the end"]


async def test_a_long_branch_comes_in_pages(store: Neighbour) -> None:
    chat_id = await store.chat()
    for number in range(1, 4):
        await store.say(chat_id, f"{number}" + "é" * 200_000)
        await store.answer(chat_id, f"answer {number}", number=number)
    _, token = await link(store, chat_id)
    first = await store.ask(rpc.GetShared(token_digest=digest(token)))
    assert len(first.items) < 6
    assert [text[:1] for text in await shown(store, token)] == ["1", "a", "2", "a", "3", "a"]


async def test_unknown_revoked_and_deleted_look_the_same(store: Neighbour) -> None:
    chat_id, gone = await store.chat(), await store.chat()
    share_id, revoked = await link(store, chat_id)
    _, of_deleted = await link(store, gone)
    for _ in range(2):
        await store.ask(rpc.RevokeShareLink(user_id="ann", chat_id=chat_id, share_id=share_id))
    await store.ask(rpc.DeleteChat(user_id="ann", chat_id=gone))
    replies = set()
    for token in (revoked, of_deleted, "never"):
        with pytest.raises(RpcRefused) as refused:
            await store.ask(rpc.GetShared(token_digest=digest(token)))
        replies.add((refused.value.code, str(refused.value)))
    assert replies == {("not_found", "There is no such link.")}
    assert (await store.ask(rpc.ListShareLinks(user_id="ann", chat_id=chat_id))).items == []


async def test_only_the_owner_shares(store: Neighbour) -> None:
    chat_id = await store.chat()
    share_id, _ = await link(store, chat_id)
    new: dict[str, Any] = {"chat_id": chat_id, "share_id": ids.new_id(), "token_digest": "x", "live": False}
    for user_id, code in (("eve", "not_found"),):
        assert await code_of(store, rpc.CreateShareLink(user_id=user_id, **new)) == code
        assert await code_of(store, rpc.ListShareLinks(user_id=user_id, chat_id=chat_id)) == code
        assert await code_of(store, rpc.RevokeShareLink(user_id=user_id, chat_id=chat_id, share_id=share_id)) == code
    assert await code_of(store, rpc.CreateShareLink(user_id="ann", **new, tip_id=ids.new_id())) == "invalid"
    links = (await store.ask(rpc.ListShareLinks(user_id="ann", chat_id=chat_id))).items
    assert [one.id for one in links] == [share_id]
