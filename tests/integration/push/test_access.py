"""Who may read what, and what is said to who may not."""

from __future__ import annotations

import pytest

from parley.contracts.frames import ChatFrame, Rejected
from parley.contracts.ids import new_id
from parley.contracts.live import PromptRejected
from parley.contracts.resources import MessageError
from tests.integration.push.backend import Backend
from tests.integration.push.conftest import Describe, url_of
from tests.integration.push.reader import reading
from tests.support.waiting import eventually


@pytest.mark.parametrize("chat_id", [new_id(), "no-id", "live.>", "", "*", "x" * 5000], ids=list("abcdef"))
async def test_a_chat_that_does_not_exist_is_not_found(backend: Backend, url: str, chat_id: str) -> None:
    async with reading(url) as reader:
        await reader.watch(chat_id)
        await eventually(lambda: [frame for frame in reader.frames if getattr(frame, "code", "") == "not_found"])


async def test_somebody_elses_chat_is_not_found_either(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    async with reading(url) as owner, reading(url, "eve") as stranger:
        client = await stranger.watch(chat)
        await eventually(lambda: client.refused == "not_found")
        await owner.follow(chat)
        client = await stranger.watch(chat)
        await eventually(lambda: len(client.frames) == 2)
        await backend.answer(chat, 3)
        assert [type(frame).__name__ for frame in client.frames] == ["Error", "Error"]


async def test_a_new_member_is_let_in_at_once(backend: Backend, url: str) -> None:
    chat = backend.new_chat("ann")
    async with reading(url) as owner, reading(url, "ben") as ben:
        await owner.follow(chat)
        await backend.publish(backend.chats[chat].add("ben"))
        client = await ben.follow(chat)
        assert client.version == backend.chats[chat].version
        assert client.refused is None


async def test_a_removed_member_is_cut_off_and_others_go_on(backend: Backend, url: str) -> None:
    chat, other = backend.new_chat("ann", "ben"), backend.new_chat("ben")
    async with reading(url) as ann, reading(url, "ben") as ben:
        owner, member = await ann.follow(chat), await ben.follow(chat)
        elsewhere = await ben.follow(other)
        await backend.publish(backend.chats[chat].remove("ben"))
        await eventually(lambda: member.gone)
        await backend.answer(chat, 3)
        await eventually(lambda: owner.version == backend.chats[chat].version)
        assert isinstance(member.frames[-1], ChatFrame)
        await backend.answer(other, 3)
        await eventually(lambda: elsewhere.version == backend.chats[other].version)
        member = await ben.watch(chat, resume=False)
        await eventually(lambda: member.refused == "not_found")


async def test_a_removal_without_an_announcement_is_noticed(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann", "ben")
    async with (
        describe(CHECK_SECONDS="1") as push,
        reading(url_of(push)) as ann,
        reading(url_of(push), "ben") as ben,
    ):
        owner, member = await ann.follow(chat), await ben.follow(chat)
        backend.chats[chat].remove("ben")
        await eventually(lambda: member.gone)
        assert not owner.gone


@pytest.mark.parametrize("announced", [True, False])
async def test_a_deleted_chat_is_gone_for_everyone(backend: Backend, describe: Describe, announced: bool) -> None:
    chat = backend.new_chat("ann", "ben")
    async with (
        describe(CHECK_SECONDS="1") as push,
        reading(url_of(push)) as ann,
        reading(url_of(push), "ben") as ben,
    ):
        owner, member = await ann.follow(chat), await ben.follow(chat)
        deleted = backend.chats.pop(chat).delete()
        if announced:
            await backend.publish(deleted)
        await eventually(lambda: owner.gone and member.gone)
        again = await ann.watch(chat, resume=False)
        await eventually(lambda: again.refused == "not_found")


async def test_unwatch_ends_a_view_and_only_that(backend: Backend, url: str) -> None:
    chats = [backend.new_chat("ann") for _ in range(2)]
    async with reading(url) as reader:
        first, second = [await reader.follow(chat) for chat in chats]
        await reader.send(type="unwatch", chat_id=chats[0])
        await reader.send(type="unwatch", chat_id=chats[0])
        await eventually(lambda: backend.asked["sync"] == 2)
        again = await reader.watch(chats[1], resume=False)  # answered after the unwatch
        await eventually(lambda: len(again.frames) >= 2)
        seen = len(first.frames)
        for chat in chats:
            await backend.answer(chat, 3)
        await eventually(lambda: second.version == backend.chats[chats[1]].version)
        assert len(first.frames) == seen


async def test_the_author_of_a_prompt_that_was_not_stored_is_informed_on_every_socket(
    backend: Backend, describe: Describe
) -> None:
    """Whatever it watches: the chat may be gone. Nobody else is informed."""
    chat, message = new_id(), new_id()
    error = MessageError(code="chat_not_found", message="The chat does not exist any more.", retryable=False)
    async with (
        describe() as here,
        describe() as there,
        reading(url_of(here)) as one,
        reading(url_of(there)) as other,
        reading(url_of(here), "ben") as stranger,
    ):
        follows = await stranger.follow(backend.new_chat("ben"))
        rejected = PromptRejected(chat_id=chat, message_id=message, user_id="ann", error=error)
        await backend.publish(rejected)
        for reader in (one, other):
            await eventually(lambda: reader.frames)  # noqa: B023
            assert reader.frames == [Rejected(chat_id=chat, message_id=message, error=error)]
        assert len(stranger.frames) == len(follows.frames) == 1
