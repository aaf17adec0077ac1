"""Answers as they should go."""

import time
from itertools import pairwise

import msgspec
from nats.aio.msg import Msg

from parley.contracts import rpc, subjects
from parley.contracts.ids import new_id
from parley.contracts.live import READ_AT
from parley.contracts.rpc import ContextMessage, ListModels, ModelList
from parley.runtime.nats.connect import wait_until_processed
from parley.runtime.nats.errors import BusUnavailable, NoResponder
from parley.runtime.nats.requests import ask
from tests.integration.llm_worker.conftest import StartWorker
from tests.integration.llm_worker.stage import Stage, text_of
from tests.support.waiting import eventually


async def test_deltas_without_a_gap_make_up_the_finished_text(shared: Stage) -> None:
    turn = await shared.ask("What is a delta?")
    end = await shared.ended(turn)
    assert (end.outcome, end.finish_reason, end.model, end.error) == ("complete", "stop", "demo-fast", None)
    assert "What is a delta?" in end.text
    await eventually(lambda: text_of(turn.deltas()) == end.text)
    assert end.usage is not None
    assert end.usage.output_tokens == turn.deltas()[-1].to
    started = turn.generations()
    assert [(frame.status, frame.attempt) for frame in started] == [("started", 1)]
    assert turn.live[0] is started[0]
    await eventually(lambda: shared.unacknowledged_is(0))


async def test_about_one_delta_a_second_says_when_it_was_read(shared: Stage) -> None:
    marks: dict[str, list[float]] = {}

    async def look(message: Msg) -> None:
        if (read_at := (message.headers or {}).get(READ_AT)) is not None:
            marks.setdefault(message.subject, []).append(float(read_at))
            assert abs(time.time() - float(read_at)) < 30

    await shared.nc.subscribe("live.*.delta", cb=look)
    await wait_until_processed(shared.nc)
    turn = await shared.ask("Tell me", model="demo-rate-50x120")
    await shared.ended(turn)
    (times,) = marks.values()
    assert len(turn.deltas()) > 10 * len(times)
    assert len(times) >= 2
    assert all(later - earlier >= 0.9 for earlier, later in pairwise(times))


async def test_reasoning_and_text_share_one_numbering(shared: Stage) -> None:
    turn = await shared.ask("Think first", model="demo-reasoning")
    end = await shared.ended(turn)
    assert end.reasoning
    await eventually(lambda: text_of(turn.deltas(), "reasoning") == end.reasoning)
    assert text_of(turn.deltas(), "text") == end.text


async def test_a_snapshot_and_the_later_deltas_make_up_the_whole(shared: Stage) -> None:
    turn = await shared.ask("Join me", model="demo-rate-200x300")
    snapshots = []
    for seq in (1, 40, 150, 290):
        await shared.spoken(turn, seq=seq)
        snapshots.append(await shared.snapshot(turn))
    end = await shared.ended(turn)
    await eventually(lambda: text_of(turn.deltas()) == end.text)
    for snapshot in snapshots:
        later = [delta for delta in turn.deltas() if delta.from_ > snapshot.seq]
        assert snapshot.text + "".join(delta.text for delta in later) == end.text
        assert (snapshot.attempt, snapshot.status) == (1, "running")


async def test_the_model_is_told_the_branch(shared: Stage) -> None:
    context = [
        ContextMessage(role="system", content="Be brief."),
        ContextMessage(role="user", content="One?"),
        ContextMessage(role="assistant", content="Two."),
        ContextMessage(role="user", content="Three?"),
    ]
    turn = await shared.ask("", model="demo-echo", context=context)
    end = await shared.ended(turn)
    assert msgspec.json.decode(end.text) == msgspec.to_builtins(context)


async def test_the_oldest_turns_are_cut_to_the_budget(on_stage: Stage, worker: StartWorker) -> None:
    context = [
        ContextMessage(role="system", content="Be brief."),
        ContextMessage(role="user", content="old " * 1000),
        ContextMessage(role="assistant", content="old " * 10),
        ContextMessage(role="user", content="new"),
    ]
    async with worker(CONTEXT_TOKENS="500"):
        turn = await on_stage.ask("", model="demo-echo", context=context)
        end = await on_stage.ended(turn)
        assert [message["content"] for message in msgspec.json.decode(end.text)] == ["Be brief.", "new"]


async def test_twenty_answers_at_once_keep_apart(shared: Stage) -> None:
    turns = [await shared.ask(f"topic-{new_id()}", model="demo-rate-100x40") for _ in range(20)]
    for turn in turns:
        end = await shared.ended(turn)
        prompt = turn.context[0].content
        assert prompt in end.text
        assert not any(other.context[0].content in end.text for other in turns if other is not turn)
        await eventually(lambda turn=turn, end=end: text_of(turn.deltas()) == end.text)  # type: ignore[misc]


async def test_no_more_answers_run_than_there_are_slots(on_stage: Stage, worker: StartWorker) -> None:
    async with worker(MAX_GENERATIONS="2"):
        first, second, third = [await on_stage.ask(f"{i}", model="demo-long") for i in range(3)]
        await on_stage.spoken(first)
        await on_stage.spoken(second)
        await on_stage.spoken(first, seq=first.deltas()[-1].to + 100)
        # The third has not even been fetched: nobody holds what nobody works on.
        assert not third.claims
        assert await on_stage.delivered_is(2)
        await on_stage.stop(second)
        await on_stage.spoken(third)
        for turn in (first, third):
            await on_stage.stop(turn)
        assert [len(turn.claims) for turn in (first, second, third)] == [1, 1, 1]


async def test_who_only_asks_for_the_owner_is_sent_no_text(on_stage: Stage, worker: StartWorker) -> None:
    turn = await on_stage.ask("How much is there?", model="demo-rate-50x200")
    async with worker():
        await on_stage.spoken(turn, seq=5)
        subject = subjects.rpc_generation_snapshot(turn.generation_id)
        brief = await ask(on_stage.nc, rpc.SnapshotRequest(brief=True), subject=subject, timeout=5)
        whole = await on_stage.snapshot(turn)
        assert (brief.text, brief.reasoning) == ("", "")
        assert whole.text
        assert (brief.attempt, brief.message_id) == (whole.attempt, whole.message_id)


async def test_a_generation_that_is_over_is_acknowledged_and_forgotten(on_stage: Stage, worker: StartWorker) -> None:
    turn = await on_stage.ask("Too late", refuse=True)
    async with worker():
        await eventually(lambda: on_stage.unacknowledged_is(0))
        assert not turn.finished
        assert not turn.live

        async def nobody() -> bool:
            # For a moment the worker still stands by it, and has nothing to tell.
            try:
                await on_stage.snapshot(turn)
            except NoResponder:
                return True
            except BusUnavailable:
                pass
            return False

        await eventually(nobody)


async def test_a_claim_waits_for_chat_store(on_stage: Stage, worker: StartWorker) -> None:
    await on_stage.close_store()
    async with worker() as process:
        beats: list[Msg] = []

        async def count(message: Msg) -> None:
            if message.data == Msg.Ack.Progress:
                beats.append(message)

        await on_stage.nc.subscribe("$JS.ACK.>", cb=count)
        turn = await on_stage.ask("Are you there?")
        # There are three in ack_wait: they hold the request for longer than that.
        await eventually(lambda: len(beats) >= 5)
        await on_stage.open_store()
        end = await on_stage.ended(turn)
        assert (end.outcome, end.attempt) == ("complete", 1)
        assert len({claim.claim_id for claim in turn.claims}) == 1
        assert "LeaseLost" not in process.log


async def test_a_second_request_for_a_running_answer_makes_no_second_one(on_stage: Stage, worker: StartWorker) -> None:
    async with worker(), worker():
        turn = await on_stage.ask("Only once", model="demo-rate-50x100")
        await on_stage.spoken(turn)
        for _ in range(3):
            await on_stage.request(turn)
        end = await on_stage.ended(turn)
        assert end.attempt == 1
        assert len(turn.claims) == 1
        await eventually(lambda: on_stage.unacknowledged_is(0))


async def test_an_answer_without_end_is_cut_at_the_limit(shared: Stage) -> None:
    turn = await shared.ask("x " * 2000, model="demo-rate-100000x2000000")
    end = await shared.ended(turn, deadline=60)
    assert (end.outcome, end.finish_reason) == ("complete", "length")
    assert 600 * 1024 - 10 <= len(msgspec.json.encode(end.text)) - 2 <= 600 * 1024
    assert len(msgspec.json.encode(end)) < 1024 * 1024


# --- models -----------------------------------------------------------------------------------------------------------


async def models(on_stage: Stage) -> ModelList:
    return await ask(on_stage.nc, ListModels(), timeout=10)


async def test_models_are_the_providers_and_the_first_is_the_default(shared: Stage) -> None:
    listed = await models(shared)
    assert listed.items[:2] == ["demo", "demo-fast"]
    assert listed.default == "demo"
    turn = await shared.ask("Which?", model=None)
    await shared.spoken(turn)
    await shared.stop(turn)
    assert (await shared.ended(turn)).model == "demo"


async def test_a_model_that_is_set_is_the_default(on_stage: Stage, worker: StartWorker) -> None:
    async with worker(MODEL="demo-fast"):
        assert (await models(on_stage)).default == "demo-fast"
        turn = await on_stage.ask("Which?", model=None)
        assert (await on_stage.ended(turn)).model == "demo-fast"
