"""Answers without errors."""

import time
from itertools import pairwise

import msgspec
from nats.aio.msg import Msg

from parley.contracts import rpc, subjects
from parley.contracts.completion import ImagePart, TextPart, ToolCall
from parley.contracts.ids import new_id
from parley.contracts.live import READ_AT
from parley.contracts.rpc import ContextMessage, ListModels, ModelList
from parley.runtime.nats.connect import wait_until_processed
from parley.runtime.nats.errors import BusUnavailable, NoResponder
from parley.runtime.nats.requests import ask
from tests.integration.llm_worker.conftest import StartWorker
from tests.integration.llm_worker.harness import Harness, text_of
from tests.support.waiting import eventually


async def test_deltas_without_a_gap_make_up_the_finished_text(shared: Harness) -> None:
    turn = await shared.ask("What is a delta?")
    end = await shared.wait_for_end(turn)
    assert (end.outcome, end.finish_reason, end.model, end.error) == ("complete", "stop", "demo-fast", None)
    assert "What is a delta?" in end.text
    await eventually(lambda: text_of(turn.deltas()) == end.text)
    assert end.usage is not None
    assert end.usage.output_tokens == turn.deltas()[-1].to
    started = turn.generations()
    assert [(frame.status, frame.attempt) for frame in started] == [("started", 1)]
    assert turn.live[0] is started[0]
    await eventually(lambda: shared.unacknowledged_is(0))


async def test_about_one_delta_a_second_carries_the_time_of_its_read(shared: Harness) -> None:
    marks: dict[str, list[float]] = {}

    async def look(message: Msg) -> None:
        if (read_at := (message.headers or {}).get(READ_AT)) is not None:
            marks.setdefault(message.subject, []).append(float(read_at))
            assert abs(time.time() - float(read_at)) < 30

    await shared.nc.subscribe("live.*.delta", cb=look)
    await wait_until_processed(shared.nc)
    turn = await shared.ask("Tell me", model="demo-rate-50x120")
    await shared.wait_for_end(turn)
    (times,) = marks.values()
    assert len(turn.deltas()) > 10 * len(times)
    assert len(times) >= 2
    assert all(later - earlier >= 0.9 for earlier, later in pairwise(times))


async def test_reasoning_and_text_share_one_numbering(shared: Harness) -> None:
    turn = await shared.ask("Think first", model="demo-reasoning")
    end = await shared.wait_for_end(turn)
    assert end.reasoning
    await eventually(lambda: text_of(turn.deltas(), "reasoning") == end.reasoning)
    assert text_of(turn.deltas(), "text") == end.text


async def test_a_snapshot_and_the_later_deltas_make_up_the_whole(shared: Harness) -> None:
    turn = await shared.ask("Join me", model="demo-rate-200x300")
    snapshots = []
    for seq in (1, 40, 150, 290):
        await shared.wait_for_text(turn, seq=seq)
        snapshots.append(await shared.snapshot(turn))
    end = await shared.wait_for_end(turn)
    await eventually(lambda: text_of(turn.deltas()) == end.text)
    for snapshot in snapshots:
        later = [delta for delta in turn.deltas() if delta.from_ > snapshot.seq]
        assert snapshot.text + "".join(delta.text for delta in later) == end.text
        assert (snapshot.attempt, snapshot.status) == (1, "running")


async def test_the_model_gets_the_branch(shared: Harness) -> None:
    context = [
        ContextMessage(role="system", content="Be brief."),
        ContextMessage(role="user", content="One?"),
        ContextMessage(role="assistant", content="Two."),
        ContextMessage(role="user", content="Three?"),
    ]
    turn = await shared.ask("", model="demo-echo", context=context)
    end = await shared.wait_for_end(turn)
    assert msgspec.json.decode(end.text)["messages"] == msgspec.to_builtins(context)


async def test_the_model_gets_the_parameters_the_images_and_the_results_of_tools(shared: Harness) -> None:
    image = ImagePart(url="data:image/png;base64,AA==")
    context = [
        ContextMessage(role="user", content="This?", parts=[TextPart(text="This?"), image]),
        ContextMessage(
            role="assistant", content="", tool_calls=[ToolCall(id="a", name="look", arguments='{"at":"it"}')]
        ),
        ContextMessage(role="tool", content="A dot.", tool_call_id="a"),
    ]
    parameters = {"temperature": 0.5, "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}]}
    turn = await shared.ask("", model="demo-echo", context=context, parameters=parameters | {"model": "other", "n": 2})
    sent = msgspec.json.decode((await shared.wait_for_end(turn)).text)
    assert sent == {
        **parameters,
        "model": "demo-echo",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "This?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"at":"it"}'}}
                ],
            },
            {"role": "tool", "content": "A dot.", "tool_call_id": "a"},
        ],
    }


async def test_the_oldest_turns_are_cut_to_the_budget(harness: Harness, worker: StartWorker) -> None:
    context = [
        ContextMessage(role="system", content="Be brief."),
        ContextMessage(role="user", content="old " * 1000),
        ContextMessage(role="assistant", content="old " * 10),
        ContextMessage(role="user", content="new"),
    ]
    async with worker(CONTEXT_TOKENS="500"):
        turn = await harness.ask("", model="demo-echo", context=context)
        end = await harness.wait_for_end(turn)
        assert [message["content"] for message in msgspec.json.decode(end.text)["messages"]] == ["Be brief.", "new"]


async def test_twenty_answers_at_once_keep_apart(shared: Harness) -> None:
    turns = [await shared.ask(f"topic-{new_id()}", model="demo-rate-100x40") for _ in range(20)]
    for turn in turns:
        end = await shared.wait_for_end(turn)
        prompt = turn.context[0].content
        assert prompt in end.text
        assert not any(other.context[0].content in end.text for other in turns if other is not turn)
        await eventually(lambda turn=turn, end=end: text_of(turn.deltas()) == end.text)  # type: ignore[misc]


async def test_no_more_answers_run_than_there_are_slots(harness: Harness, worker: StartWorker) -> None:
    async with worker(MAX_GENERATIONS="2"):
        first, second, third = [await harness.ask(f"{i}", model="demo-long") for i in range(3)]
        await harness.wait_for_text(first)
        await harness.wait_for_text(second)
        await harness.wait_for_text(first, seq=first.deltas()[-1].to + 100)
        # The third is not fetched: a delivered request is always being worked on.
        assert not third.claims
        assert await harness.delivered_is(2)
        await harness.stop(second)
        await harness.wait_for_text(third)
        for turn in (first, third):
            await harness.stop(turn)
        assert [len(turn.claims) for turn in (first, second, third)] == [1, 1, 1]


async def test_a_brief_snapshot_has_no_text(harness: Harness, worker: StartWorker) -> None:
    turn = await harness.ask("How much is there?", model="demo-rate-50x200")
    async with worker():
        await harness.wait_for_text(turn, seq=5)
        subject = subjects.rpc_generation_snapshot(turn.generation_id)
        brief = await ask(harness.nc, rpc.SnapshotRequest(brief=True), subject=subject, timeout=5)
        whole = await harness.snapshot(turn)
        assert (brief.text, brief.reasoning) == ("", "")
        assert whole.text
        assert (brief.attempt, brief.message_id) == (whole.attempt, whole.message_id)


async def test_a_request_for_a_finished_generation_is_acknowledged(harness: Harness, worker: StartWorker) -> None:
    turn = await harness.ask("Too late", refuse=True)
    async with worker():
        await eventually(lambda: harness.unacknowledged_is(0))
        assert not turn.finished
        assert not turn.live

        async def nobody() -> bool:
            # For a moment the worker still stands by it, and has nothing to tell.
            try:
                await harness.snapshot(turn)
            except NoResponder:
                return True
            except BusUnavailable:
                pass
            return False

        await eventually(nobody)


async def test_a_claim_waits_for_chat_store(harness: Harness, worker: StartWorker) -> None:
    await harness.store.stop()
    async with worker() as process:
        beats: list[Msg] = []

        async def count(message: Msg) -> None:
            if message.data == Msg.Ack.Progress:
                beats.append(message)

        await harness.nc.subscribe("$JS.ACK.>", cb=count)
        turn = await harness.ask("Are you there?")
        # There are three in ack_wait: they hold the request for longer than that.
        await eventually(lambda: len(beats) >= 5)
        await harness.store.start()
        end = await harness.wait_for_end(turn)
        assert (end.outcome, end.attempt) == ("complete", 1)
        assert len({claim.claim_id for claim in turn.claims}) == 1
        assert "LeaseLost" not in process.log


async def test_a_second_request_for_a_running_answer_starts_no_second_one(
    harness: Harness, worker: StartWorker
) -> None:
    async with worker(), worker():
        turn = await harness.ask("Only once", model="demo-rate-50x100")
        await harness.wait_for_text(turn)
        for _ in range(3):
            await harness.request(turn)
        end = await harness.wait_for_end(turn)
        assert end.attempt == 1
        assert len(turn.claims) == 1
        await eventually(lambda: harness.unacknowledged_is(0))


async def test_an_answer_without_end_is_cut_at_the_limit(shared: Harness) -> None:
    turn = await shared.ask("x " * 2000, model="demo-rate-100000x2000000")
    end = await shared.wait_for_end(turn, deadline=60)
    assert (end.outcome, end.finish_reason) == ("complete", "length")
    assert 600 * 1024 - 10 <= len(msgspec.json.encode(end.text)) - 2 <= 600 * 1024
    assert len(msgspec.json.encode(end)) < 1024 * 1024


# --- models -----------------------------------------------------------------------------------------------------------


async def models(harness: Harness) -> ModelList:
    return await ask(harness.nc, ListModels(), timeout=10)


async def test_models_are_the_providers_and_the_first_is_the_default(shared: Harness) -> None:
    listed = await models(shared)
    assert listed.items[:2] == ["demo", "demo-fast"]
    assert listed.default == "demo"
    turn = await shared.ask("Which?", model=None)
    await shared.wait_for_text(turn)
    await shared.stop(turn)
    assert (await shared.wait_for_end(turn)).model == "demo"


async def test_a_model_that_is_set_is_the_default(harness: Harness, worker: StartWorker) -> None:
    async with worker(MODEL="demo-fast"):
        assert (await models(harness)).default == "demo-fast"
        turn = await harness.ask("Which?", model=None)
        assert (await harness.wait_for_end(turn)).model == "demo-fast"
