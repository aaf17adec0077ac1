"""Whose worker is gone, and how many questions it takes to know."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import nats.errors
import pytest

from chat_store.domain.records import GenerationRecord
from chat_store.events.orphans import EACH_EVERY, Absence, Orphans

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FakeNats:
    """A connection on which the owners of some generations answer."""

    def __init__(self) -> None:
        self.is_connected = True
        self.stats = {"reconnects": 0}
        self.answering: set[str] = set()
        self.silent: set[str] = set()
        self.asked: list[str] = []
        self.reply = b"{}"

    async def request(self, subject: str, body: bytes, *, timeout: float) -> SimpleNamespace:
        generation_id = subject.split(".")[2]
        self.asked.append(generation_id)
        if generation_id in self.answering:
            return SimpleNamespace(data=self.reply)
        raise nats.errors.TimeoutError if generation_id in self.silent else nats.errors.NoRespondersError


def running(number: int, worker: str, **changes: Any) -> GenerationRecord:
    fields: dict[str, Any] = {
        "id": f"{worker}{number}",
        "chat_id": "chat",
        "message_id": "message",
        "user_id": "ann",
        "status": "running",
        "attempt": 1,
        "released": 0,
        "claim_id": "claim",
        "worker_id": worker,
        "claimed_at": NOW + timedelta(seconds=number),
        "request": 1,
        "requested_at": NOW,
        "request_seq": 1,
        "stop_requested_at": None,
        "created_at": NOW,
        "ended_at": None,
    }
    return GenerationRecord(**(fields | changes))


@pytest.fixture
def nc() -> FakeNats:
    return FakeNats()


@pytest.fixture
def orphans(nc: FakeNats) -> Orphans:
    return Orphans(nc)  # type: ignore[arg-type]


async def found(orphans: Orphans, *active: GenerationRecord) -> dict[str, bool]:
    return {suspect.generation.id: suspect.gone for suspect in await orphans.find(active)}


async def test_while_workers_answer_each_is_asked_once_a_round(
    nc: FakeNats, orphans: Orphans, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = [running(number, worker) for worker in "ab" for number in range(5)]
    nc.answering = {one.id for one in active}
    assert await found(orphans, *active) == {}
    assert len(nc.asked) == 10, "the first time all are asked"
    nc.asked.clear()
    assert await found(orphans, *active) == {}
    assert sorted(nc.asked) == ["a4", "b4"], "the newest of each worker"
    later = orphans._answered["a0"] + EACH_EVERY
    monkeypatch.setattr("chat_store.events.orphans.time.monotonic", lambda: later + 1)
    nc.asked.clear()
    assert await found(orphans, *active) == {}
    assert len(nc.asked) == 10


async def test_when_a_worker_is_gone_all_its_answers_are_found_at_once(nc: FakeNats, orphans: Orphans) -> None:
    active = [running(number, worker) for worker in "ab" for number in range(3)]
    nc.answering = {one.id for one in active}
    await found(orphans, *active)
    nc.answering = {"b0", "b1", "b2"}
    assert await found(orphans, *active) == {"a0": True, "a1": True, "a2": True}


async def test_a_single_answer_that_its_worker_forgot_is_found_too(nc: FakeNats, orphans: Orphans) -> None:
    active = [running(0, "a"), running(1, "a")]
    nc.answering = {"a1"}
    assert await found(orphans, *active) == {"a0": True}


async def test_a_worker_that_is_connected_and_silent_is_not_gone(nc: FakeNats, orphans: Orphans) -> None:
    nc.silent = {"a0"}
    assert await found(orphans, running(0, "a")) == {"a0": False}


@pytest.mark.parametrize(("attempt", "counts"), [(0, True), (1, False), (2, True), (3, True)])
async def test_who_makes_an_earlier_attempt_does_not_make_the_one_that_counts(
    nc: FakeNats, orphans: Orphans, attempt: int, counts: bool
) -> None:
    """0: it waits for the reply to its claim. Above: the claim is newer than what was read."""
    nc.answering = {"a0"}
    nc.reply = msgspec.json.encode({"type": "generation_snapshot", "attempt": attempt, "text": "so far"})
    assert await found(orphans, running(0, "a", attempt=2)) == ({} if counts else {"a0": True})


async def test_a_request_that_nobody_claimed_is_a_suspect_without_a_question(nc: FakeNats, orphans: Orphans) -> None:
    assert await found(orphans, running(0, "a", status="requested", worker_id=None)) == {"a0": False}
    assert nc.asked == []


async def test_right_after_our_own_reconnect_no_worker_is_gone(nc: FakeNats, orphans: Orphans) -> None:
    assert await found(orphans, running(0, "a")) == {"a0": True}
    nc.stats["reconnects"] = 1
    assert await found(orphans, running(0, "a")) == {"a0": False}
    assert await found(orphans, running(0, "a")) == {"a0": True}


async def test_without_a_connection_nothing_is_known(nc: FakeNats, orphans: Orphans) -> None:
    nc.is_connected = False
    assert await found(orphans, running(0, "a")) == {}


def test_only_rounds_in_a_row_without_a_connection_count_as_gone() -> None:
    absence = Absence().after(1.0, gone=True).after(1.0, gone=True)
    assert absence == Absence(2.0, 2.0)
    assert absence.after(1.0, gone=False) == Absence(3.0, 0.0)
