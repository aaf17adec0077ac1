"""Stop closes the provider's connection at once, whatever is going on."""

import time

from parley.contracts.ids import new_id
from tests.integration.llm_worker.conftest import StartWorker
from tests.integration.llm_worker.harness import Harness, text_of
from tests.support.demo_model import DemoModelProcess
from tests.support.waiting import eventually


async def test_stop_closes_the_connection_and_keeps_the_text(
    shared: Harness, demo_model_process: DemoModelProcess
) -> None:
    mark = new_id()
    turn = await shared.ask(mark, model="demo-long")
    await shared.wait_for_text(turn)
    clicked = time.monotonic()
    await shared.stop(turn)
    end = await shared.wait_for_end(turn)
    [record] = demo_model_process.streams(mark)
    assert record.end == "closed_by_client"
    assert record.ended is not None
    assert record.ended - clicked < 1.0
    assert (end.outcome, end.error) == ("stopped", None)
    assert end.text
    await eventually(lambda: text_of(turn.deltas()) == end.text)
    await eventually(lambda: shared.unacknowledged_is(0))


async def test_stop_before_the_first_token(shared: Harness, demo_model_process: DemoModelProcess) -> None:
    mark = new_id()
    turn = await shared.ask(mark, model="demo-stall-first")
    await eventually(lambda: demo_model_process.streams(mark))
    await shared.stop(turn)
    end = await shared.wait_for_end(turn)
    assert (end.outcome, end.text) == ("stopped", "")
    await eventually(lambda: demo_model_process.streams(mark)[0].end == "closed_by_client")


async def test_stop_before_the_claim(
    harness: Harness, worker: StartWorker, demo_model_process: DemoModelProcess
) -> None:
    mark = new_id()
    turn = await harness.ask(mark, model="demo-long", stop_requested=True)
    async with worker():
        end = await harness.wait_for_end(turn)
        assert (end.outcome, end.text) == ("stopped", "")
        assert not demo_model_process.streams(mark)
        assert not turn.deltas()


async def test_a_stop_that_crosses_a_takeover_keeps_the_text_before_it(harness: Harness, worker: StartWorker) -> None:
    turn = await harness.ask(new_id(), model="demo-rate-50x5000")
    async with worker() as doomed:
        await harness.wait_for_text(turn)
        await eventually(lambda: harness.has_segment(turn, 1))
        doomed.kill()
    turn.stop_requested = True
    async with worker():
        end = await harness.wait_for_end(turn)
    assert (end.outcome, end.attempt) == ("stopped", 2)
    assert end.text
    assert text_of(turn.deltas(1)).startswith(end.text)


async def test_stop_while_the_claim_is_on_its_way(harness: Harness, worker: StartWorker) -> None:
    harness.replies.clear()
    async with worker():
        turn = await harness.ask("Never mind", model="demo-long")
        await eventually(lambda: turn.claims)
        await harness.stop(turn)  # the reply to the claim was made before: only the signal carries the stop
        harness.replies.set()
        assert (await harness.wait_for_end(turn)).outcome == "stopped"


async def test_stop_while_waiting_to_try_again(shared: Harness) -> None:
    turn = await shared.ask(new_id(), model="demo-error-429")
    await eventually(lambda: any(frame.status == "retrying" for frame in turn.generations()))
    began = time.monotonic()
    await shared.stop(turn)
    end = await shared.wait_for_end(turn)
    assert time.monotonic() - began < 0.9
    assert (end.outcome, end.error) == ("stopped", None)


async def test_stop_of_many_at_once(shared: Harness, demo_model_process: DemoModelProcess) -> None:
    mark = new_id()
    turns = [await shared.ask(f"{mark} {i}", model="demo-rate-50x5000") for i in range(30)]
    for turn in turns:
        await shared.wait_for_text(turn)
    clicked = time.monotonic()
    for turn in turns:
        await shared.stop(turn)
    for turn in turns:
        assert (await shared.wait_for_end(turn)).outcome == "stopped"
    for record in demo_model_process.streams(mark):
        assert record.ended is not None
        assert record.ended - clicked < 1.0
