"""What was delivered and not acknowledged is processed in batches, and one event that fails delays no other."""

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from msgspec.structs import replace
from nats.js.api import RawStreamMsg

from chat_store.errors import Unavailable
from chat_store.events.context import EventContext
from chat_store.events.processing import REPLAY_BATCH, Intake, Unreadable, decode
from chat_store.events.subscribers import submit
from chat_store.storage.transactions import Command, Outcome
from parley.contracts import ids
from parley.contracts.completion import CompletionRequest, WhenBusy
from parley.contracts.decoding import MAX_NESTING
from parley.contracts.events import PromptSubmitted
from parley.contracts.streams import CHAT_STORE_PROMPTS


class CountingPublisher:
    """A publisher that counts what it announces."""

    def __init__(self) -> None:
        self.announced = 0

    async def announce(self, _changes: Sequence[object]) -> None:
        self.announced += 1


class Store:
    """Carries out commands; some fail."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.fails: dict[str, Exception] = {}

    async def execute(self, commands: Sequence[Command[str]]) -> Outcome[str]:
        chats = [command.chat_id for command in commands]
        for chat_id in chats:
            if chat_id in self.fails:
                raise self.fails[chat_id]
        self.batches.append(chats)
        return Outcome(results=["started"] * len(chats), changes=[])


def stored(count: int) -> tuple[list[str], list[RawStreamMsg]]:
    """Prompts as they lie in the stream, each of a chat of its own."""
    chats = [ids.new_id() for _ in range(count)]
    return chats, [
        RawStreamMsg(
            data=msgspec.json.encode(
                PromptSubmitted(
                    chat_id=chat_id,
                    message_id=ids.new_id(),
                    user_id="ann",
                    content="hello",
                    occurred_at=datetime.now(UTC),
                )
            )
        )
        for chat_id in chats
    ]


@pytest.fixture
def intake() -> Intake[PromptSubmitted]:
    async def refusals(_prompts: Sequence[PromptSubmitted]) -> set[str]:
        return set()

    return Intake(
        cast(EventContext, SimpleNamespace(publisher=CountingPublisher())),
        CHAT_STORE_PROMPTS,
        kind=PromptSubmitted,
        command=submit,
        refusals=refusals,
    )


async def test_what_a_new_leader_finds_in_hand_is_carried_out_in_batches(intake: Intake[PromptSubmitted]) -> None:
    store = Store()
    chats, messages = stored(2 * REPLAY_BATCH + 7)
    assert await intake.replay(messages, store.execute) == len(chats)
    assert [len(batch) for batch in store.batches] == [REPLAY_BATCH, REPLAY_BATCH, 7]
    assert [chat_id for batch in store.batches for chat_id in batch] == chats, "in the order of the stream"


async def test_one_that_fails_is_left_for_its_next_delivery_and_holds_up_no_other(
    intake: Intake[PromptSubmitted],
) -> None:
    store = Store()
    chats, messages = stored(9)
    store.fails[chats[4]] = ValueError("its data")
    messages.insert(2, RawStreamMsg(data=b"not an event"))
    assert await intake.replay(messages, store.execute) == 8
    assert [chat_id for batch in store.batches for chat_id in batch] == [*chats[:4], *chats[5:]]


@pytest.mark.parametrize("more", ["", "[" * 9000 + "]" * 9000, '{"a":' * 9000 + "1" + "}" * 9000])
def test_what_cannot_be_decoded_is_unreadable_and_not_an_error_of_ours(more: str) -> None:
    with pytest.raises(Unreadable):
        decode(f'{{"type":"prompt.submitted","more":{more}}}'.encode(), PromptSubmitted)


async def test_an_outage_ends_the_replay(intake: Intake[PromptSubmitted]) -> None:
    store = Store()
    chats, messages = stored(REPLAY_BATCH + 1)
    store.fails[chats[-1]] = Unavailable()
    with pytest.raises(Unavailable):
        await intake.replay(messages, store.execute)
    assert len(store.batches) == 1


def test_a_completion_that_is_nested_too_deeply_or_an_answers_id_that_is_none_is_unreadable() -> None:
    nested: dict[str, object] = {}
    for _ in range(MAX_NESTING):
        nested = {"a": [nested]}
    base = PromptSubmitted(
        chat_id=ids.new_id(), message_id=ids.new_id(), user_id="ann", content="hello", occurred_at=datetime.now(UTC)
    )
    shallow = CompletionRequest(parameters={"tools": [{"function": {"parameters": {}}}]}, echo={"a": [1]})
    assert decode(msgspec.json.encode(replace(base, completion=shallow)), PromptSubmitted).completion == shallow
    for completion in (CompletionRequest(parameters=nested), CompletionRequest(echo=nested)):
        with pytest.raises(Unreadable):
            decode(msgspec.json.encode(replace(base, completion=completion)), PromptSubmitted)
    with pytest.raises(Unreadable):
        decode(msgspec.json.encode(replace(base, answer_id="*")), PromptSubmitted)


async def test_prompts_that_may_end_an_answer_of_a_chat_are_in_transactions_of_their_own_in_order(
    intake: Intake[PromptSubmitted],
) -> None:
    store = Store()
    chat_id, other = ids.new_id(), ids.new_id()
    modes: list[WhenBusy] = ["enqueue", "interrupt", "enqueue", "rollback", "reject"]
    prompts = [
        PromptSubmitted(
            chat_id=chat,
            message_id=ids.new_id(),
            user_id="ann",
            content="hello",
            occurred_at=datetime.now(UTC),
            when_busy=mode,
        )
        for mode in modes
        for chat in (chat_id, other)
    ]
    await intake.replay([RawStreamMsg(data=msgspec.json.encode(one)) for one in prompts], store.execute)
    assert store.batches == [[chat_id, other] * 2, [chat_id, other] * 2, [chat_id, other]]
