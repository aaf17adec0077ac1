"""What readers are told of a change."""

import msgspec

from chat_store.conversation import Conversation
from chat_store.publisher import encode_changed
from parley.contracts import limits
from parley.contracts.live import Changed
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
    tables.run(Conversation.delete)
    told = _told(tables)
    assert (told.chat, told.messages, told.version) == (None, [], 2)
