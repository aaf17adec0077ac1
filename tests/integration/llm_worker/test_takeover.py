"""A worker is killed, suspended, shut down or disconnected: another takes over, and one end counts."""

import asyncio
import signal
import time

from parley.contracts.ids import new_id
from parley.contracts.limits import MAX_ATTEMPTS
from parley.runtime.nats.errors import BusUnavailable, NoResponder
from parley_cli.embedded.nats import NatsServer
from tests.integration.llm_worker.conftest import ACK_WAIT, StartWorker
from tests.integration.llm_worker.harness import Harness, Turn, text_of
from tests.support.demo_model import DemoModelProcess
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually

BUSY = 5.0
"""Seconds of allowance for a busy machine."""


def owner(turn: Turn, *workers: ServiceProcess) -> ServiceProcess:
    """The one of ``workers`` that made the newest claim."""
    _, _, pid = turn.claims[-1].worker_id.rpartition(":")
    return next(process for process in workers if str(process.pid) == pid)


async def test_a_killed_worker_is_replaced(harness: Harness, worker: StartWorker) -> None:
    async with worker() as one, worker() as other:
        turn = await harness.ask(new_id(), model="demo-rate-50x150")
        await harness.wait_for_text(turn)
        owner(turn, one, other).kill()
        killed = time.monotonic()
        await harness.wait_for_text(turn, attempt=2)
        assert time.monotonic() - killed < ACK_WAIT + 1 + BUSY
        end = await harness.wait_for_end(turn)
        assert (end.outcome, end.attempt) == ("complete", 2)
        await eventually(lambda: text_of(turn.deltas(2)) == end.text)
        await eventually(lambda: harness.unacknowledged_is(0))
        assert "parley_llm_worker_takeovers_total 1.0" in owner(turn, one, other).get("/metrics")[1]


async def test_a_suspended_worker_drops_its_answer_when_it_resumes(
    harness: Harness, worker: StartWorker, demo_model_process: DemoModelProcess
) -> None:
    async with worker() as one, worker() as other:
        mark = new_id()
        turn = await harness.ask(mark, model="demo-rate-20x200")
        await harness.wait_for_text(turn)
        frozen = owner(turn, one, other)
        frozen.pause()
        since = time.monotonic()
        await harness.wait_for_text(turn, attempt=2)
        await eventually(lambda: time.monotonic() - since >= 2 * ACK_WAIT)
        said = len(turn.deltas(1))
        frozen.signal(signal.SIGCONT)
        await eventually(lambda: demo_model_process.streams(mark)[0].end == "closed_by_client")
        end = await harness.wait_for_end(turn)
        assert (end.outcome, end.attempt) == ("complete", 2)
        assert len(turn.finished) == 1
        # What was on its way when it froze may arrive; nothing was published after.
        assert len(turn.deltas(1)) <= said + 1
        await eventually(lambda: "heartbeats were late" in frozen.log)
        assert await harness.snapshot_attempt(turn) in (None, 2)


async def test_a_short_suspension_changes_nothing(harness: Harness, worker: StartWorker) -> None:
    async with worker() as first:
        turn = await harness.ask(new_id(), model="demo-rate-50x100")
        await harness.wait_for_text(turn)
        first.pause()
        frozen = time.monotonic()
        await eventually(lambda: time.monotonic() - frozen > ACK_WAIT / 6)
        first.signal(signal.SIGCONT)
        end = await harness.wait_for_end(turn)
        assert end.attempt == 1
        await eventually(lambda: text_of(turn.deltas()) == end.text)


async def test_a_worker_that_shuts_down_releases_its_answer_at_once(
    harness: Harness, worker: StartWorker, demo_model_process: DemoModelProcess
) -> None:
    async with worker() as one, worker() as other:
        mark = new_id()
        turn = await harness.ask(mark, model="demo-rate-50x200")
        await harness.wait_for_text(turn)
        leaving = owner(turn, one, other)
        signalled = time.monotonic()
        leaving.signal(signal.SIGTERM)
        await harness.wait_for_text(turn, attempt=2)
        assert time.monotonic() - signalled < 0.5 + BUSY
        assert [release.attempt for release in turn.releases] == [1]
        assert turn.used == 1
        assert demo_model_process.streams(mark)[0].end == "closed_by_client"
        assert await asyncio.to_thread(leaving.wait) == 0
        end = await harness.wait_for_end(turn)
        assert (end.outcome, end.attempt) == ("complete", 2)


async def test_a_worker_that_shuts_down_during_its_claim_releases_the_attempt(
    harness: Harness, worker: StartWorker
) -> None:
    async with worker() as leaving:
        harness.replies.clear()
        turn = await harness.ask(new_id(), model="demo-fast")
        await eventually(lambda: len(turn.claims) == 1)
        leaving.signal(signal.SIGTERM)
        signalled = time.monotonic()
        await eventually(lambda: time.monotonic() - signalled > 1.0)  # the grace is over
        harness.replies.set()
        assert await asyncio.to_thread(leaving.wait) == 0
        assert [release.attempt for release in turn.releases] == [1]
        assert turn.used == 0
    async with worker():
        assert (await harness.wait_for_end(turn)).attempt == 2


async def test_a_worker_that_shuts_down_finishes_within_the_grace_period(harness: Harness, worker: StartWorker) -> None:
    async with worker(SHUTDOWN_GRACE="20") as first:
        turn = await harness.ask(new_id(), model="demo-rate-50x100")
        await harness.wait_for_text(turn)
        first.signal(signal.SIGTERM)
        await eventually(lambda: harness.open_requests_is(0))
        assert "stopping" in (await asyncio.to_thread(first.get, "/readyz"))[1]
        late = await harness.ask("after the bell")
        end = await harness.wait_for_end(turn)
        assert (end.outcome, end.attempt) == ("complete", 1)
        assert await asyncio.to_thread(first.wait) == 0
        assert not late.claims
        assert not turn.releases


async def test_an_idle_worker_shuts_down_at_once_and_keeps_no_request(harness: Harness, worker: StartWorker) -> None:
    async with worker() as first:
        began = time.monotonic()
        assert first.stop() == 0
        assert time.monotonic() - began < BUSY
        turn = await harness.ask("for the next one")
        async with worker():
            assert (await harness.wait_for_end(turn)).attempt == 1


async def test_exhausted_attempts_end_with_the_segments_of_killed_workers(
    harness: Harness, worker: StartWorker
) -> None:
    turn = await harness.ask(new_id(), model="demo-rate-50x5000")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        async with worker() as doomed:
            await harness.wait_for_text(turn, attempt=attempt)
            await eventually(lambda attempt=attempt: harness.has_segment(turn, attempt))  # type: ignore[misc]
            doomed.kill()
    async with worker():
        end = await harness.wait_for_end(turn)
    assert (end.outcome, end.attempt) == ("failed", MAX_ATTEMPTS + 1)
    assert end.error is not None
    assert (end.error.code, end.error.retryable) == ("attempts_exhausted", True)
    assert end.text
    assert text_of(turn.deltas(MAX_ATTEMPTS)).startswith(end.text)


async def test_an_answer_whose_worker_was_killed_has_no_owner(harness: Harness, worker: StartWorker) -> None:
    async with worker() as first:
        turn = await harness.ask(new_id(), model="demo-long")
        await harness.wait_for_text(turn)
        first.kill()

        async def gone() -> bool:
            try:
                await harness.snapshot(turn)
            except NoResponder:
                return True
            except BusUnavailable:
                pass  # asked while it died
            return False

        await eventually(gone)


# --- nats-server ------------------------------------------------------------------------------------------------------


async def test_a_restart_of_nats_in_mid_answer_loses_nothing(
    nats_server: NatsServer, harness: Harness, worker: StartWorker
) -> None:
    async with worker() as process:
        turn = await harness.ask(new_id(), model="demo-rate-20x120")
        await harness.wait_for_text(turn)
        nats_server.kill()
        nats_server.start()
        end = await harness.wait_for_end(turn, deadline=60)
        assert end.outcome == "complete"
        await eventually(lambda: harness.unacknowledged_is(0), deadline=30)
        assert process.returncode is None
        later = await harness.ask("still there?")
        assert (await harness.wait_for_end(later)).outcome == "complete"


async def test_a_worker_disconnected_for_longer_than_its_lease_drops_the_answer(
    nats_server: NatsServer, harness: Harness, worker: StartWorker, demo_model_process: DemoModelProcess
) -> None:
    async with worker() as process:
        mark = new_id()
        turn = await harness.ask(mark, model="demo-rate-20x200")
        await harness.wait_for_text(turn)
        nats_server.kill()
        await eventually(lambda: demo_model_process.streams(mark)[0].end == "closed_by_client")
        nats_server.start()
        end = await harness.wait_for_end(turn, deadline=60)
        assert (end.outcome, end.attempt) == ("complete", 2)
        await eventually(lambda: "heartbeats were late" in process.log)


# --- poison -----------------------------------------------------------------------------------------------------------


async def test_an_event_that_cannot_be_decoded_is_dead_lettered(harness: Harness, worker: StartWorker) -> None:
    subject = f"chat.{new_id()}.generation.requested"
    await harness.js.publish(subject, b"not json")
    future = b'{"type":"generation.requested","v":99,"chat_id":"c","occurred_at":"2030-01-01T00:00:00Z",'
    await harness.js.publish(subject, future + b'"generation_id":"g","message_id":"m","request":1}')
    async with worker() as process:
        turn = await harness.ask("And me?")
        await harness.wait_for_end(turn)
        await eventually(lambda: harness.unacknowledged_is(0))
        dead = await harness.dead_letters()
        assert [(letter.data or b"")[:8] for letter in dead] == [b"not json", future[:8]]
        assert "version 99" in (dead[1].headers or {})["Parley-Dead-Reason"]
        assert "parley_llm_worker_dead_letters_total 2.0" in process.get("/metrics")[1]
