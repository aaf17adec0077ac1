"""The limits of users and chats: counted in Postgres, so exact over all processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from parley.contracts import ids, rpc
from parley.contracts.access import identity
from parley.contracts.completion import CompletionRequest
from parley.contracts.resources import Message, Usage
from parley.runtime.nats.errors import RpcRefused
from tests.integration.chat_store.client import Neighbour, finished
from tests.integration.chat_store.conftest import StartStore
from tests.support.waiting import eventually

MODELS = [
    {"name": "demo", "price": {"input": 2.0, "output": 10.0}},
    {"name": "large", "tokens_per_day": 5},
    {"name": "staff-only", "groups": ["staff"]},
]


def admit(user_id: str, chat_id: str, message_id: str | None = None, **fields: Any) -> rpc.AdmitPrompt:
    fields.setdefault("bytes", 5)
    return rpc.AdmitPrompt(user_id=user_id, chat_id=chat_id, message_id=message_id or ids.new_id(), **fields)


async def refusal_of(neighbour: Neighbour, request: rpc.Request[Any]) -> RpcRefused:
    with pytest.raises(RpcRefused) as refused:
        await neighbour.ask(request)
    return refused.value


async def outcome_of(neighbour: Neighbour, request: rpc.Request[Any]) -> str | None:
    """Return the reason of a refusal; None: it was not refused."""
    while True:
        try:
            await neighbour.ask(request, timeout=30)
        except RpcRefused as refusal:
            if refusal.code == "unavailable":
                continue  # every connection to Postgres was taken for too long; the request is idempotent
            return refusal.reason
        return None


async def by_status(neighbour: Neighbour, chats: list[str]) -> list[str]:
    """The state of each chat's first prompt."""
    return [(await neighbour.messages(chat_id))[0].status for chat_id in chats]


@pytest_asyncio.fixture
async def three_a_minute(start_store: StartStore) -> AsyncIterator[None]:
    async with start_store(PROMPTS_PER_MINUTE="3"), start_store(PROMPTS_PER_MINUTE="3"):
        yield


# --- prompts per minute ---------------------------------------------------------------------------------------------


async def test_a_burst_over_several_processes_is_admitted_up_to_the_limit_exactly(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    users, limit = [f"user-{number}" for number in range(5)], 20
    async with (
        start_store(PROMPTS_PER_MINUTE=str(limit)),
        start_store(PROMPTS_PER_MINUTE=str(limit)),
        start_store(PROMPTS_PER_MINUTE=str(limit)),
    ):
        chats = {user_id: await neighbour.chat(user_id) for user_id in users}
        asked = [(user_id, admit(user_id, chats[user_id])) for _ in range(60) for user_id in users]
        outcomes = await asyncio.gather(*(outcome_of(neighbour, request) for _, request in asked))
    for user_id in users:
        mine = [outcome for (one, _), outcome in zip(asked, outcomes, strict=True) if one == user_id]
        assert mine.count(None) == limit
        assert set(mine) == {None, "too_many_prompts"}


@pytest.mark.usefixtures("three_a_minute")
async def test_a_prompt_that_is_asked_for_again_counts_once(neighbour: Neighbour) -> None:
    chat_id = await neighbour.chat()
    request = admit("ann", chat_id)
    await asyncio.gather(*(neighbour.ask(request) for _ in range(10)))
    assert (await neighbour.ask(admit("ann", chat_id))).limited
    await neighbour.ask(admit("ann", chat_id))
    refused = await refusal_of(neighbour, admit("ann", chat_id))
    assert (refused.code, refused.reason) == ("too_many", "too_many_prompts")
    assert refused.retry_after is not None
    assert 30 < refused.retry_after <= 60
    await neighbour.ask(request)
    await neighbour.ask(admit("ben", chat_id))


@pytest.mark.usefixtures("three_a_minute")
async def test_a_prompt_that_takes_the_last_place_is_admitted_to_each_who_asks_at_the_same_time(
    neighbour: Neighbour,
) -> None:
    chat_id = await neighbour.chat()
    for user_id in [f"user-{number}" for number in range(20)]:
        for _ in range(2):
            await neighbour.ask(admit(user_id, chat_id))
        last = admit(user_id, chat_id)
        assert await asyncio.gather(*(outcome_of(neighbour, last) for _ in range(10))) == [None] * 10
        assert await outcome_of(neighbour, admit(user_id, chat_id)) == "too_many_prompts"


@pytest.mark.usefixtures("three_a_minute")
async def test_prompts_that_nobody_was_asked_about_are_rejected_over_the_limit_and_their_author_sees_why(
    neighbour: Neighbour,
) -> None:
    chat_id = await neighbour.chat()
    admitted = ids.new_id()
    await neighbour.ask(admit("ann", chat_id, admitted))
    sent = [await neighbour.say(chat_id, f"prompt {number}") for number in range(4)]
    await neighbour.say(chat_id, "asked before", message_id=admitted)

    # The request waits for what was accepted before it.
    found = [
        (await neighbour.ask(rpc.GetMessage(user_id="ann", chat_id=chat_id, message_id=one))).message
        for one in [*sent, admitted]
    ]
    assert [one.status for one in found] == ["sent", "queued", "rejected", "rejected", "queued"]
    assert found[2].error is not None
    assert found[2].error.code == "too_many_prompts"


@pytest.mark.usefixtures("three_a_minute")
async def test_a_clock_that_was_ahead_keeps_nobody_from_sending(neighbour: Neighbour, database_url: str) -> None:
    chat_id = await neighbour.chat()
    # A gateway's clock was ahead; nobody was asked about these prompts.
    later = datetime.now(UTC) + timedelta(hours=1)
    sent = [await neighbour.say(chat_id, occurred_at=later) for _ in range(3)]
    await eventually(lambda: neighbour.message(chat_id, sent[-1]))
    assert (refused := await refusal_of(neighbour, admit("ann", chat_id))).reason == "too_many_prompts"
    assert (refused.retry_after or 0) <= 60
    # And Postgres' own.
    connection = await asyncpg.connect(database_url)
    try:
        ahead = [datetime.now(UTC) + timedelta(hours=1)] * 3
        await connection.execute("UPDATE prompt_rates SET admitted = $1 WHERE user_id = 'ann'", ahead)
        for _ in range(3):
            await neighbour.ask(admit("ann", chat_id))
        assert (await refusal_of(neighbour, admit("ann", chat_id))).reason == "too_many_prompts"
    finally:
        await connection.close()


async def test_prompts_of_who_is_no_member_take_no_place_in_the_queue(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(QUEUED_PROMPTS_PER_CHAT="2"):
        chat_id = await neighbour.chat()
        await neighbour.say(chat_id)
        await neighbour.request_for(chat_id)
        for _ in range(4):
            await outcome_of(neighbour, admit("mallory", chat_id))
        assert await outcome_of(neighbour, admit("ann", chat_id)) is None


async def test_a_prompt_that_takes_the_last_place_of_a_queue_is_admitted_to_each_who_asks_at_the_same_time(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(QUEUED_PROMPTS_PER_CHAT="1"), start_store(QUEUED_PROMPTS_PER_CHAT="1"):
        for _ in range(10):
            chat_id = await neighbour.chat()
            await neighbour.say(chat_id)
            await neighbour.request_for(chat_id)
            last = admit("ann", chat_id)
            assert await asyncio.gather(*(outcome_of(neighbour, last) for _ in range(10))) == [None] * 10
            assert await outcome_of(neighbour, admit("ann", chat_id)) == "queue_full"


@pytest.mark.usefixtures("three_a_minute")
async def test_answers_requested_again_count_as_prompts(neighbour: Neighbour) -> None:
    chat_id = await neighbour.chat()
    prompt_id = await neighbour.say(chat_id)
    await neighbour.answer(chat_id)
    repeated = rpc.Regenerate(user_id="ann", chat_id=chat_id, message_id=prompt_id, answer_id=ids.new_id())
    for number in (2, 3):
        again = rpc.Regenerate(
            user_id="ann",
            chat_id=chat_id,
            message_id=prompt_id,
            answer_id=repeated.answer_id if number == 2 else ids.new_id(),
        )
        await neighbour.ask(again)
        await neighbour.ask(repeated)
        await neighbour.answer(chat_id, number=number)
    another = rpc.Regenerate(user_id="ann", chat_id=chat_id, message_id=prompt_id, answer_id=ids.new_id())
    assert (await refusal_of(neighbour, another)).reason == "too_many_prompts"
    await neighbour.ask(repeated)


async def test_without_limits_nothing_has_to_be_asked(store: Neighbour) -> None:
    assert not (await store.ask(admit("ann", await store.chat()))).limited


# --- budgets and models ---------------------------------------------------------------------------------------------


async def test_a_spent_budget_refuses_prompts_and_ends_those_that_wait_without_a_call(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(TOKENS_PER_DAY="8"):
        chat_id = await neighbour.chat()
        first, second = await neighbour.say(chat_id, "first"), await neighbour.say(chat_id, "second")
        await neighbour.answer(chat_id)  # 3 + 5 tokens
        claimed = await neighbour.claimed(await neighbour.request_for(chat_id, number=2))
        assert (claimed.verdict, claimed.context) == ("exhausted", [])
        assert claimed.error is not None
        assert claimed.error.code == "budget_spent"
        refused = await refusal_of(neighbour, admit("ann", chat_id))
        assert refused.reason == "budget_spent"
        tomorrow = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        assert refused.retry_after is not None
        assert abs(refused.retry_after - (tomorrow - datetime.now(UTC)).total_seconds()) < 60
        again = rpc.Regenerate(user_id="ann", chat_id=chat_id, message_id=first, answer_id=ids.new_id())
        await neighbour.finish(claimed, "", outcome="failed", error=claimed.error, usage=None)

        async def ended() -> bool:
            return (await neighbour.messages(chat_id))[-1].status == "failed"

        await eventually(ended)
        assert (await refusal_of(neighbour, again)).reason == "budget_spent"
        assert await outcome_of(neighbour, admit("ben", await neighbour.chat("ben"))) is None
    assert second


async def test_members_of_a_group_have_the_groups_budget_and_models(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    budgets = {"TOKENS_PER_DAY": "8", "TOKENS_PER_DAY_OF_GROUPS": '{"staff": 9}', "MODELS": json.dumps(MODELS)}
    async with start_store(**budgets):
        signed_in = identity.StartSession(
            session_id=ids.new_id(),
            secret_digest=identity.digest("secret"),
            new_user_id=ids.new_id(),
            external=identity.External(issuer="https://id.example", subject="ann", groups=("staff",)),
            method="oidc",
            idle_seconds=60,
            absolute_seconds=60,
        )
        user_id = (await neighbour.ask(signed_in)).principal.user.id
        chat_id = await neighbour.chat(user_id)
        for number, reason in ((1, None), (2, "budget_spent")):
            await neighbour.say(chat_id, user_id=user_id, model="staff-only")
            claimed = await neighbour.claimed(await neighbour.request_for(chat_id, number=number))
            assert (claimed.verdict, claimed.model) == ("stream", "staff-only")
            await neighbour.finish(claimed, model="staff-only")  # 8 tokens

            async def booked(number: int = number) -> bool:
                lines = (await neighbour.ask(rpc.GetUsage(user_id=user_id))).items
                return sum(line.answers for line in lines) == number

            await eventually(booked)
            assert await outcome_of(neighbour, admit(user_id, chat_id, model="staff-only")) == reason


async def test_failed_and_stopped_answers_and_estimates_are_booked(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(TOKENS_PER_DAY="8"):
        chat_id = await neighbour.chat()
        await neighbour.say(chat_id)
        claimed = await neighbour.claimed(await neighbour.request_for(chat_id))
        await neighbour.finish(claimed, outcome="stopped", usage=Usage(input_tokens=6, output_tokens=2, estimated=True))

        async def refused() -> bool:
            return await outcome_of(neighbour, admit("ann", chat_id)) == "budget_spent"

        await eventually(refused)
        (line,) = (await neighbour.ask(rpc.GetUsage(user_id="ann"))).items
        assert (line.answers, line.input_tokens, line.output_tokens, line.estimated) == (1, 6, 2, 1)


async def test_a_model_has_a_budget_of_its_own_and_those_that_may_use_it(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(MODELS=json.dumps(MODELS)):
        chat_id = await neighbour.chat()
        assert (await refusal_of(neighbour, admit("ann", chat_id, model="unknown"))).reason == "model_not_allowed"
        assert (await refusal_of(neighbour, admit("ann", chat_id, model="staff-only"))).reason == "model_not_allowed"
        await neighbour.say(chat_id, model="large")
        claimed = await neighbour.claimed(await neighbour.request_for(chat_id))
        assert claimed.model == "large"
        await neighbour.finish(claimed, model="large")

        async def refused() -> bool:
            return await outcome_of(neighbour, admit("ann", chat_id, model="large")) == "budget_spent"

        await eventually(refused)
        await neighbour.ask(admit("ann", chat_id, model="demo"))
        await neighbour.say(chat_id)
        default = await neighbour.claimed(await neighbour.request_for(chat_id, number=2))
        assert (default.verdict, default.model) == ("stream", "demo")
        await neighbour.finish(default)
        # A chat's model that was allowed once is looked at when its turn comes.
        other = await neighbour.chat(model="staff-only")
        assert (await refusal_of(neighbour, admit("ann", other))).reason == "model_not_allowed"
        await neighbour.say(other)
        none = await neighbour.claimed(await neighbour.request_for(other))
        assert none.error is not None
        assert (none.verdict, none.error.code) == ("exhausted", "model_not_allowed")


# --- running answers ------------------------------------------------------------------------------------------------


async def test_prompts_over_the_limit_of_running_answers_wait_and_start_in_order(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(ANSWERS_PER_USER="2"), start_store(ANSWERS_PER_USER="2"):
        chats = [await neighbour.chat() for _ in range(5)]
        for chat_id in chats:
            await neighbour.say(chat_id)
            await eventually(lambda chat_id=chat_id: neighbour.messages(chat_id))  # type: ignore[misc]
        other = await neighbour.chat("ben")
        await neighbour.say(other, user_id="ben")
        await neighbour.request_for(other)
        assert await by_status(neighbour, chats) == ["sent", "sent", "queued", "queued", "queued"]
        for number in range(3):
            await neighbour.answer(chats[number])
            await neighbour.request_for(chats[number + 2])
            waiting = ["queued"] * (2 - number)
            assert await by_status(neighbour, chats) == ["sent"] * (number + 3) + waiting


async def test_another_answer_that_takes_the_last_place_is_admitted_to_each_who_asks_at_the_same_time(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(ANSWERS_PER_USER="1"), start_store(ANSWERS_PER_USER="1"):
        for number in range(10):
            user_id = f"user-{number}"
            chat_id = await neighbour.chat(user_id)
            prompt_id = await neighbour.say(chat_id, user_id=user_id)
            claimed = await neighbour.claimed(await neighbour.request_for(chat_id))
            await neighbour.finish(claimed)

            async def ended(chat_id: str = chat_id, user_id: str = user_id) -> bool:
                return (await neighbour.messages(chat_id, user_id=user_id))[-1].status == "complete"

            await eventually(ended)
            again = rpc.Regenerate(user_id=user_id, chat_id=chat_id, message_id=prompt_id, answer_id=ids.new_id())
            assert await asyncio.gather(*(outcome_of(neighbour, again) for _ in range(10))) == [None] * 10


async def test_no_more_answers_run_than_allowed_whatever_is_sent_at_once(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(ANSWERS_PER_USER="3"), start_store(ANSWERS_PER_USER="3"):
        chats = [await neighbour.chat() for _ in range(20)]
        await asyncio.gather(*(neighbour.say(chat_id) for chat_id in chats))
        for ended in range(20):
            await eventually(lambda ended=ended: len(neighbour.requested) >= min(20, ended + 3))  # type: ignore[misc]
            assert len(neighbour.requested) <= ended + 3
            claimed = await neighbour.claimed(neighbour.requested[ended])
            await neighbour.finish(claimed)
        assert {request.chat_id for request in neighbour.requested} == set(chats)


async def test_another_answer_is_refused_while_as_many_run_as_may(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(ANSWERS_PER_USER="1"):
        first, second = await neighbour.chat(), await neighbour.chat()
        prompt_id = await neighbour.say(first)
        await neighbour.answer(first)
        await neighbour.say(second)
        await neighbour.request_for(second)
        again = rpc.Regenerate(user_id="ann", chat_id=first, message_id=prompt_id, answer_id=ids.new_id())
        assert (await refusal_of(neighbour, again)).reason == "too_many_answers"
        await neighbour.answer(second)
        await neighbour.ask(again)


async def test_prompts_that_wait_start_when_the_limit_is_removed(start_store: StartStore, neighbour: Neighbour) -> None:
    chats = []
    async with start_store(ANSWERS_PER_USER="1"):
        for _ in range(3):
            chats.append(await neighbour.chat())
            await neighbour.say(chats[-1])
            await eventually(lambda: neighbour.messages(chats[-1]))
    async with start_store():
        for chat_id in chats:
            await neighbour.answer(chat_id)


# --- chats and queues -----------------------------------------------------------------------------------------------


async def test_a_user_owns_as_many_chats_as_allowed_exactly(start_store: StartStore, neighbour: Neighbour) -> None:
    async with start_store(CHATS_PER_USER="7"), start_store(CHATS_PER_USER="7"):
        asked = [rpc.CreateChat(user_id="ann", chat_id=ids.new_id()) for _ in range(40)]
        outcomes = await asyncio.gather(*(outcome_of(neighbour, request) for request in asked))
        assert outcomes.count(None) == 7
        assert set(outcomes) == {None, "too_many_chats"}
        existing = asked[outcomes.index(None)]
        await neighbour.ask(existing)
        await neighbour.ask(rpc.DeleteChat(user_id="ann", chat_id=existing.chat_id))
        await neighbour.chat()


async def test_a_chat_is_handed_over_to_a_member_who_may_have_one_more(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(CHATS_PER_USER="2"), start_store(CHATS_PER_USER="2"):
        chats = [await neighbour.chat() for _ in range(2)]
        for chat_id in chats:
            await neighbour.join(chat_id, "ben")
        await neighbour.chat("ben")
        asked = [rpc.HandOver(user_id="ann", chat_id=chat_id, member_id="ben") for chat_id in chats]
        outcomes = await asyncio.gather(*(outcome_of(neighbour, request) for request in asked))
        assert set(outcomes) == {None, "too_many_chats"}, "both at once are one too many"
        refused = asked[outcomes.index("too_many_chats")]
        assert "The member has 2 chats" in (await refusal_of(neighbour, refused)).message
        assert (await neighbour.get(refused.chat_id)).owner_id == "ann"
        # Whoever may not hand over does not learn how many chats somebody has.
        by_writer = rpc.HandOver(user_id="ben", chat_id=refused.chat_id, member_id="ann")
        assert (await refusal_of(neighbour, by_writer)).code == "forbidden"
        to_stranger = rpc.HandOver(user_id="ann", chat_id=refused.chat_id, member_id="eve")
        assert (await refusal_of(neighbour, to_stranger)).code == "conflict"
        # Ann has a place again.
        await neighbour.chat()


@pytest.mark.parametrize(
    "setting", [{"QUEUED_PROMPTS_PER_CHAT": "2"}, {"QUEUED_BYTES_PER_CHAT": "10"}], ids=["prompts", "bytes"]
)
async def test_a_full_queue_refuses_a_prompt_before_it_is_accepted_and_a_stored_one_with_a_failed_answer(
    start_store: StartStore, neighbour: Neighbour, setting: dict[str, str]
) -> None:
    async with start_store(**setting):
        chat_id = await neighbour.chat()
        for _ in range(3):
            message_id = ids.new_id()
            await neighbour.ask(admit("ann", chat_id, message_id))
            await neighbour.say(chat_id, "hello", message_id=message_id)
            # The request waits until it is stored: the first starts an answer, and the others wait.
            await neighbour.ask(rpc.GetMessage(user_id="ann", chat_id=chat_id, message_id=message_id))
        assert (await refusal_of(neighbour, admit("ann", chat_id))).reason == "queue_full"
        await neighbour.say(chat_id, "fourth")

        async def failed() -> Message | None:
            return next((one for one in await neighbour.messages(chat_id) if one.status == "failed"), None)

        answer = await eventually(failed)
        assert answer is not None
        assert answer.error is not None
        assert answer.error.code == "queue_full"


async def test_what_a_prompt_asks_for_beside_text_takes_its_part_of_the_queue(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(QUEUED_BYTES_PER_CHAT="1000"):
        chat_id = await neighbour.chat()
        await neighbour.say(chat_id, "first")
        asked = CompletionRequest(instructions="x" * 900)
        queued = await neighbour.say(chat_id, "second", completion=asked)
        await neighbour.ask(rpc.GetMessage(user_id="ann", chat_id=chat_id, message_id=queued))
        assert (await refusal_of(neighbour, admit("ann", chat_id, bytes=100))).reason == "queue_full"
        await neighbour.ask(admit("ann", chat_id, bytes=10))
        refused = await neighbour.say(chat_id, "x" * 100)
        turn = await neighbour.ask(rpc.GetTurn(user_id="ann", chat_id=chat_id, message_id=refused))
        assert turn.answer is not None
        assert turn.answer.error is not None
        assert turn.answer.error.code == "queue_full"


# --- usage and cost -------------------------------------------------------------------------------------------------


async def test_usage_is_summed_by_model_or_by_day_with_its_cost(start_store: StartStore, neighbour: Neighbour) -> None:
    async with start_store(MODELS=json.dumps(MODELS)):
        chat_id = await neighbour.chat()
        for number in (1, 2):
            await neighbour.say(chat_id)
            claimed = await neighbour.claimed(await neighbour.request_for(chat_id, number=number))
            await neighbour.finish(claimed)
            await eventually(lambda number=number: _answers(neighbour, number))  # type: ignore[misc]
        (line,) = (await neighbour.ask(rpc.GetUsage(user_id="ann"))).items
        assert (line.model, line.answers, line.input_tokens, line.output_tokens) == ("demo", 2, 6, 10)
        assert line.cost == pytest.approx((6 * 2.0 + 10 * 10.0) / 1_000_000)
        today = finished(claimed).occurred_at.date()
        by_day = rpc.GetUsage(user_id="ann", by_day=True, from_day=today - timedelta(days=1))
        days = (await neighbour.ask(by_day)).items
        assert sum(one.answers for one in days) == 2
        assert all(isinstance(one.day, date) for one in days)
        before = rpc.GetUsage(user_id="ann", by_day=True, to_day=today - timedelta(days=2))
        assert (await neighbour.ask(before)).items == []


async def _answers(neighbour: Neighbour, number: int) -> bool:
    return sum(line.answers for line in (await neighbour.ask(rpc.GetUsage(user_id="ann"))).items) == number
