"""What readers are told of a change."""

from typing import Any

import msgspec

from chat_store.domain import chats, generations
from chat_store.events.publisher import Publisher, encode_changed
from parley.contracts import limits
from parley.contracts.live import Changed, ListChanged
from tests.unit.chat_store.tables import CHAT, Tables


def _told(tables: Tables) -> Changed:
    return msgspec.json.decode(encode_changed(tables.history[-1]), type=Changed)


def test_a_change_is_told_with_its_messages_and_the_active_generation() -> None:
    tables = Tables()
    prompt_id = tables.submit("hello")
    told = _told(tables)
    assert (told.chat_id, told.since, told.version) == (CHAT, 1, 2)
    assert told.messages is not None
    assert [one.id for one in told.messages] == [prompt_id, tables.chat.tip_id if tables.chat else None]
    assert told.chat is not None
    assert told.chat.running
    assert told.generation is not None
    assert told.generation.status == "requested"
    tables.answer()
    told = _told(tables)
    assert told.generation is None
    assert told.chat is not None
    assert not told.chat.running


def test_messages_that_are_too_large_are_left_out() -> None:
    tables = Tables()
    tables.submit()
    tables.answer("\x01" * limits.MAX_ANSWER_BYTES)
    told = _told(tables)
    assert told.messages is None
    assert told.chat is not None


def test_a_deleted_chat_is_told_without_itself() -> None:
    tables = Tables()
    tables.run(chats.delete)
    told = _told(tables)
    assert (told.chat, told.messages, told.version) == (None, [], 2)


class Bus:
    """A connection that remembers what was told to lists of chats, by subject."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ListChanged]] = []

    async def publish(self, subject: str, payload: bytes) -> None:
        if subject.startswith("user."):
            self.told.append((subject, msgspec.json.decode(payload, type=ListChanged)))


async def _lists_told(tables: Tables, *members: str) -> list[tuple[str, ListChanged]]:
    bus: Any = Bus()
    change = msgspec.structs.replace(tables.history[-1], members=list(members), request=None)
    await Publisher(bus, bus, bus).announce([change])
    told: list[tuple[str, ListChanged]] = bus.told
    return sorted(told, key=lambda one: one[0])


async def test_every_members_list_is_told_of_a_change_that_it_shows() -> None:
    tables = Tables()
    tables.submit("hello")
    told = await _lists_told(tables, "ann", "ben")
    assert [subject for subject, _ in told] == ["user.ann.chats", "user.ben.chats"]
    for _, changed in told:
        assert changed.chat is not None
        assert (changed.chat.title, changed.chat.running, changed.version) == ("hello", True, 2)


async def test_an_attempt_at_an_answer_is_told_to_no_list_but_its_end_is() -> None:
    tables = Tables()
    tables.submit("hello")
    generation = tables.claim()
    assert await _lists_told(tables, "ann") == []
    tables.run(lambda chat: generations.release(chat, generation.id, generation.attempt))
    assert await _lists_told(tables, "ann") == []
    tables.answer()
    ((_, changed),) = await _lists_told(tables, "ann")
    assert changed.chat is not None
    assert not changed.chat.running


async def test_a_new_members_list_gets_the_chat_and_a_removed_members_loses_it() -> None:
    tables = Tables()
    tables.run(lambda chat: chats.put_member(chat, "ben"))
    told = await _lists_told(tables, "ann")
    assert [(subject, changed.chat is None) for subject, changed in told] == [
        ("user.ann.chats", False),
        ("user.ben.chats", False),
    ]
    tables.run(lambda chat: chats.remove_member(chat, "ann", "ben"))
    told = await _lists_told(tables, "ann", "ben")
    assert [(subject, changed.chat is None) for subject, changed in told] == [
        ("user.ann.chats", False),
        ("user.ben.chats", True),
    ]


async def test_a_deleted_chat_leaves_every_members_list() -> None:
    tables = Tables()
    tables.run(chats.delete)
    told = await _lists_told(tables, "ann", "ben")
    assert [changed.chat for _, changed in told] == [None, None]
