"""What is published of a change."""

from typing import Any

import msgspec

from chat_store.domain import chats, generations, members
from chat_store.events.publisher import Publisher, encode_changed
from chat_store.events.starter import Starter
from parley.contracts import limits
from parley.contracts.live import Changed, InvitationsChanged, ListChanged
from tests.unit.chat_store.tables import CHAT, Tables


def _published(tables: Tables) -> Changed:
    return msgspec.json.decode(encode_changed(tables.history[-1]), type=Changed)


def test_a_change_is_published_with_its_messages_and_the_active_generation() -> None:
    tables = Tables()
    prompt_id = tables.submit("hello")
    published = _published(tables)
    assert (published.chat_id, published.since, published.version) == (CHAT, 1, 2)
    assert published.messages is not None
    assert [one.id for one in published.messages] == [prompt_id, tables.chat.tip_id if tables.chat else None]
    assert published.chat is not None
    assert published.chat.running
    assert published.generation is not None
    assert published.generation.status == "requested"
    tables.answer()
    published = _published(tables)
    assert published.generation is None
    assert published.chat is not None
    assert not published.chat.running


def test_messages_that_are_too_large_are_left_out() -> None:
    tables = Tables()
    tables.submit()
    tables.answer("\x01" * limits.MAX_ANSWER_BYTES)
    published = _published(tables)
    assert published.messages is None
    assert published.chat is not None


def test_a_deleted_chat_is_published_without_itself() -> None:
    tables = Tables()
    tables.run(chats.delete)
    published = _published(tables)
    assert (published.chat, published.messages, published.version) == (None, [], 2)


class Bus:
    """A connection that remembers what was published for lists of chats, by subject, and to invited users."""

    def __init__(self) -> None:
        self.published: list[tuple[str, ListChanged]] = []
        self.invited: list[str] = []

    async def publish(self, subject: str, payload: bytes) -> None:
        if not subject.startswith("user."):
            return
        changed = msgspec.json.decode(payload, type=ListChanged | InvitationsChanged)
        if isinstance(changed, InvitationsChanged):
            self.invited.append(subject)
        else:
            self.published.append((subject, changed))


async def _lists_published(tables: Tables, *members: str) -> list[tuple[str, ListChanged]]:
    bus: Any = Bus()
    change = msgspec.structs.replace(tables.history[-1], members=list(members), request=None)
    await Publisher(bus, bus, bus, Starter(bus, limit=0)).announce([change])
    published: list[tuple[str, ListChanged]] = bus.published
    return sorted(published, key=lambda one: one[0])


async def test_every_members_list_is_published_of_a_change_that_it_shows() -> None:
    tables = Tables()
    tables.submit("hello")
    published = await _lists_published(tables, "ann", "ben")
    assert [subject for subject, _ in published] == ["user.ann.chats", "user.ben.chats"]
    for _, changed in published:
        assert changed.chat is not None
        assert (changed.chat.title, changed.chat.running, changed.version) == ("hello", True, 2)


async def test_an_attempt_at_an_answer_is_published_to_no_list_but_its_end_is() -> None:
    tables = Tables()
    tables.submit("hello")
    generation = tables.claim()
    assert await _lists_published(tables, "ann") == []
    tables.run(lambda chat: generations.release(chat, generation.id, generation.attempt))
    assert await _lists_published(tables, "ann") == []
    tables.answer()
    ((_, changed),) = await _lists_published(tables, "ann")
    assert changed.chat is not None
    assert not changed.chat.running


async def test_a_new_members_list_gets_the_chat_and_a_removed_members_loses_it() -> None:
    tables = Tables()
    tables.join("bob")
    published = await _lists_published(tables, "ann")
    assert [(subject, changed.chat is None) for subject, changed in published] == [
        ("user.ann.chats", False),
        ("user.bob.chats", False),
    ]
    tables.run(lambda chat: members.remove(chat, "ann", "bob"))
    published = await _lists_published(tables, "ann", "bob")
    assert [(subject, changed.chat is None) for subject, changed in published] == [
        ("user.ann.chats", False),
        ("user.bob.chats", True),
    ]


async def test_an_invited_user_is_informed_and_no_list_and_no_room_is() -> None:
    tables, bus = Tables(), Bus()
    publisher = Publisher(bus, bus, bus, Starter(bus, limit=0))  # type: ignore[arg-type]
    tables.run(lambda chat: members.put(chat, "ann", "bob", "reader"))
    await publisher.announce([tables.history[-1]])
    assert (bus.invited, bus.published) == (["user.bob.chats"], [])
    tables.run(lambda chat: members.accept(chat, "bob"))
    assert _published(tables).roles == {"bob": "reader"}
    await publisher.announce([msgspec.structs.replace(tables.history[-1], members=["ann"])])
    assert bus.invited == ["user.bob.chats"] * 2


async def test_a_deleted_chat_leaves_every_members_list() -> None:
    tables = Tables()
    tables.run(chats.delete)
    published = await _lists_published(tables, "ann", "ben")
    assert [changed.chat for _, changed in published] == [None, None]
