"""A worker dies, freezes, leaves or is cut off: another one makes the answer, and only one counts."""

import asyncio
import signal
import time

from parley.contracts.ids import new_id
from parley.contracts.limits import MAX_ATTEMPTS
from parley.runtime.nats.errors import BusUnavailable, NoResponder
from parley_cli.embedded.nats import NatsServer
from tests.integration.llm_worker.conftest import ACK_WAIT, StartWorker
from tests.integration.llm_worker.stage import Stage, Turn, text_of
from tests.support.demo_model import DemoModelProcess
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually

BUSY = 5.0
"""Seconds of allowance for a busy machine."""


def owner(turn: Turn, *workers: ServiceProcess) -> ServiceProcess:
    """The one of ``workers`` that made the newest claim."""
    _, _, pid = turn.claims[-1].worker_id.rpartition(":")
    return next(process for process in workers if str(process.pid) == pid)


async def test_a_killed_worker_is_replaced(on_stage: Stage, worker: StartWorker) -> None:
    async with worker() as one, worker() as other:
        turn = await on_stage.ask(new_id(), model="demo-rate-50x150")
        await on_stage.spoken(turn)
        owner(turn, one, other).kill()
        killed = time.monotonic()
        await on_stage.spoken(turn, attempt=2)
        assert time.monotonic() - killed < ACK_WAIT + 1 + BUSY
        end = await on_stage.ended(turn)
        assert (end.outcome, end.attempt) == ("complete", 2)
        await eventually(lambda: text_of(turn.deltas(2)) == end.text)
        await eventually(lambda: on_stage.unacknowledged_is(0))
        assert "parley_llm_worker_takeovers_total 1.0" in owner(turn, one, other).get("/metrics")[1]


async def test_a_frozen_worker_gives_up_when_it_wakes(
    on_stage: Stage, worker: StartWorker, demo_model_process: DemoModelProcess
) -> None:
    async with worker() as one, worker() as other:
        mark = new_id()
        turn = await on_stage.ask(mark, model="demo-rate-20x200")
        await on_stage.spoken(turn)
        frozen = owner(turn, one, other)
        frozen.pause()
        since = time.monotonic()
        await on_stage.spoken(turn, attempt=2)
        await eventually(lambda: time.monotonic() - since >= 2 * ACK_WAIT)
        said = len(turn.deltas(1))
        frozen.signal(signal.SIGCONT)
        await eventually(lambda: demo_model_process.streams(mark)[0].end == "closed_by_client")
        end = await on_stage.ended(turn)
        assert (end.outcome, end.attempt) == ("complete", 2)
        assert len(turn.finished) == 1
        # What was on its way when it froze may arrive; nothing was published after.
        assert len(turn.deltas(1)) <= said + 1
        await eventually(lambda: "heartbeats were late" in frozen.log)
        assert await on_stage.snapshot_attempt(turn) in (None, 2)


async def test_a_short_freeze_changes_nothing(on_stage: Stage, worker: StartWorker) -> None:
    async with worker() as first:
        turn = await on_stage.ask(new_id(), model="demo-rate-50x100")
        await on_stage.spoken(turn)
        first.pause()
        frozen = time.monotonic()
        await eventually(lambda: time.monotonic() - frozen > ACK_WAIT / 6)
        first.signal(signal.SIGCONT)
        end = await on_stage.ended(turn)
        assert end.attempt == 1
        await eventually(lambda: text_of(turn.deltas()) == end.text)


async def test_a_worker_that_is_told_to_go_hands_its_answer_over_at_once(
    on_stage: Stage, worker: StartWorker, demo_model_process: DemoModelProcess
) -> None:
    async with worker() as one, worker() as other:
        mark = new_id()
        turn = await on_stage.ask(mark, model="demo-rate-50x200")
        await on_stage.spoken(turn)
        leaving = owner(turn, one, other)
        told = time.monotonic()
        leaving.signal(signal.SIGTERM)
        await on_stage.spoken(turn, attempt=2)
        assert time.monotonic() - told < 0.5 + BUSY
        assert [release.attempt for release in turn.releases] == [1]
        assert turn.used == 1
        assert demo_model_process.streams(mark)[0].end == "closed_by_client"
        assert await asyncio.to_thread(leaving.wait) == 0
        end = await on_stage.ended(turn)
        assert (end.outcome, end.attempt) == ("complete", 2)


async def test_a_worker_that_goes_while_its_claim_is_under_way_gives_the_attempt_back(
    on_stage: Stage, worker: StartWorker
) -> None:
    async with worker() as leaving:
        on_stage.replies.clear()
        turn = await on_stage.ask(new_id(), model="demo-fast")
        await eventually(lambda: len(turn.claims) == 1)
        leaving.signal(signal.SIGTERM)
        told = time.monotonic()
        await eventually(lambda: time.monotonic() - told > 1.0)  # the grace is over
        on_stage.replies.set()
        assert await asyncio.to_thread(leaving.wait) == 0
        assert [release.attempt for release in turn.releases] == [1]
        assert turn.used == 0
    async with worker():
        assert (await on_stage.ended(turn)).attempt == 2


async def test_a_worker_that_is_told_to_go_finishes_what_it_can(on_stage: Stage, worker: StartWorker) -> None:
    async with worker(SHUTDOWN_GRACE="20") as first:
        turn = await on_stage.ask(new_id(), model="demo-rate-50x100")
        await on_stage.spoken(turn)
        first.signal(signal.SIGTERM)
        await eventually(lambda: on_stage.asking_is(0))
        assert "stopping" in (await asyncio.to_thread(first.get, "/readyz"))[1]
        late = await on_stage.ask("after the bell")
        end = await on_stage.ended(turn)
        assert (end.outcome, end.attempt) == ("complete", 1)
        assert await asyncio.to_thread(first.wait) == 0
        assert not late.claims
        assert not turn.releases


async def test_an_idle_worker_goes_at_once_and_leaves_nothing_behind(on_stage: Stage, worker: StartWorker) -> None:
    async with worker() as first:
        began = time.monotonic()
        assert first.stop() == 0
        assert time.monotonic() - began < BUSY
        turn = await on_stage.ask("for the next one")
        async with worker():
            assert (await on_stage.ended(turn)).attempt == 1


async def test_used_up_attempts_end_with_the_text_that_dead_workers_left(on_stage: Stage, worker: StartWorker) -> None:
    turn = await on_stage.ask(new_id(), model="demo-rate-50x5000")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        async with worker() as doomed:
            await on_stage.spoken(turn, attempt=attempt)
            await eventually(lambda attempt=attempt: on_stage.has_segment(turn, attempt))  # type: ignore[misc]
            doomed.kill()
    async with worker():
        end = await on_stage.ended(turn)
    assert (end.outcome, end.attempt) == ("failed", MAX_ATTEMPTS + 1)
    assert end.error is not None
    assert (end.error.code, end.error.retryable) == ("attempts_exhausted", True)
    assert end.text
    assert text_of(turn.deltas(MAX_ATTEMPTS)).startswith(end.text)


async def test_nobody_answers_for_an_answer_whose_worker_died(on_stage: Stage, worker: StartWorker) -> None:
    async with worker() as first:
        turn = await on_stage.ask(new_id(), model="demo-long")
        await on_stage.spoken(turn)
        first.kill()

        async def gone() -> bool:
            try:
                await on_stage.snapshot(turn)
            except NoResponder:
                return True
            except BusUnavailable:
                pass  # asked while it died
            return False

        await eventually(gone)


# --- nats-server ------------------------------------------------------------------------------------------------------


async def test_a_restart_of_nats_in_mid_answer_loses_nothing(
    nats_server: NatsServer, on_stage: Stage, worker: StartWorker
) -> None:
    async with worker() as process:
        turn = await on_stage.ask(new_id(), model="demo-rate-20x120")
        await on_stage.spoken(turn)
        nats_server.kill()
        nats_server.start()
        end = await on_stage.ended(turn, deadline=60)
        assert end.outcome == "complete"
        await eventually(lambda: on_stage.unacknowledged_is(0), deadline=30)
        assert process.returncode is None
        later = await on_stage.ask("still there?")
        assert (await on_stage.ended(later)).outcome == "complete"


async def test_a_worker_cut_off_for_too_long_gives_up_and_the_answer_is_made_again(
    nats_server: NatsServer, on_stage: Stage, worker: StartWorker, demo_model_process: DemoModelProcess
) -> None:
    async with worker() as process:
        mark = new_id()
        turn = await on_stage.ask(mark, model="demo-rate-20x200")
        await on_stage.spoken(turn)
        nats_server.kill()
        await eventually(lambda: demo_model_process.streams(mark)[0].end == "closed_by_client")
        nats_server.start()
        end = await on_stage.ended(turn, deadline=60)
        assert (end.outcome, end.attempt) == ("complete", 2)
        await eventually(lambda: "heartbeats were late" in process.log)


# --- poison -----------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_read_goes_to_the_dead_letters_and_blocks_nobody(
    on_stage: Stage, worker: StartWorker
) -> None:
    subject = f"chat.{new_id()}.generation.requested"
    await on_stage.js.publish(subject, b"not json")
    future = b'{"type":"generation.requested","v":99,"chat_id":"c","occurred_at":"2030-01-01T00:00:00Z",'
    await on_stage.js.publish(subject, future + b'"generation_id":"g","message_id":"m","request":1}')
    async with worker() as process:
        turn = await on_stage.ask("And me?")
        await on_stage.ended(turn)
        await eventually(lambda: on_stage.unacknowledged_is(0))
        dead = await on_stage.dead_letters()
        assert [(letter.data or b"")[:8] for letter in dead] == [b"not json", future[:8]]
        assert "version 99" in (dead[1].headers or {})["Parley-Dead-Reason"]
        assert "parley_llm_worker_dead_letters_total 2.0" in process.get("/metrics")[1]
