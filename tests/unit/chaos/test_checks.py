"""The invariant checks of the chaos runs."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from parley_cli.demo_model.answers import numbered
from tests.chaos.history import History, Sent
from tests.chaos.invariants import Findings, Reading, check
from tests.chaos.plan import FaultKind, InjectedFault, PlannedFault
from tests.chaos.progress import Progress, stalls
from tests.chaos.reader import Observation
from tests.chaos.stored import Stored, StoredGeneration, StoredMessage

NOW = 100.0
ANSWER = "".join(numbered(30, "hello"))
PROMPT = StoredMessage(
    id="p",
    chat_id="c",
    parent_id=None,
    role="user",
    content="hello",
    reasoning="",
    status="sent",
    error=None,
    position=1,
    version=2,
)
REPLY = replace(
    PROMPT, id="a", parent_id="p", role="assistant", content=ANSWER, status="complete", position=2, version=4
)
GENERATION = StoredGeneration(
    id="g", message_id="a", chat_id="c", status="complete", attempt=2, created_at=1.0, ended_at=2.0
)
OBSERVATION = Observation(message_id="a", generation_id="g", attempt=2, text=ANSWER, reasoning="")


def sent(**changes: object) -> Sent:
    fields = {"chat_id": "c", "message_id": "p", "content": "hello", "model": "demo-rate-9x30", "tokens": 30}
    return Sent(**(fields | {"accepted_at": 1.0} | changes))  # type: ignore[arg-type]


def reading(*messages: StoredMessage, observation: Observation = OBSERVATION, **changes: object) -> Reading:
    has = {each.id: (each.status, each.content, each.reasoning) for each in messages or (PROMPT, REPLY)}
    fields = {
        "reader": "r",
        "chat_id": "c",
        "version": 4,
        "messages": has,
        "whole": True,
        "observations": [observation],
    }
    return Reading(**(fields | changes))  # type: ignore[arg-type]


def found(
    *rows: StoredMessage,
    prompt: Sent | None = None,
    generation: StoredGeneration = GENERATION,
    observed: Reading | None = None,
    faults: Sequence[InjectedFault] = (),
    progress: Progress | None = None,
) -> Findings:
    history = History()
    history.add(prompt or sent())
    messages = {(row.chat_id, row.id): row for row in rows}
    stored = Stored({"c": 4}, messages, [generation] if rows else [])
    return check(history, stored, [observed or reading(*rows)], faults=faults, progress=progress or Progress(), now=NOW)


def test_a_message_with_its_answer_is_all_one_can_ask_for() -> None:
    findings = found(PROMPT, REPLY)
    assert findings.clean
    assert findings.outcomes == {"complete": 1}
    assert (findings.observed, findings.takeovers) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "rows", "prompt"),
    [
        ("lost", (), sent()),
        ("lost", (PROMPT,), sent()),
        ("lost", (replace(PROMPT, content="hell"), REPLY), sent()),
        ("lost", (PROMPT, REPLY), sent(regenerated=1)),
        ("duplicated", (PROMPT, REPLY, replace(REPLY, id="a2", position=3)), sent()),
        ("duplicated", (PROMPT, REPLY, replace(PROMPT, id="p2", position=3)), sent()),
        ("duplicated", (PROMPT, REPLY, replace(REPLY, id="a2", parent_id="gone", position=3)), sent()),
        (
            "duplicated",
            (PROMPT, REPLY, replace(REPLY, id="a2", position=3), replace(REPLY, id="a3", position=4)),
            sent(maybe_regenerated=1),
        ),
        ("duplicated", (replace(PROMPT, status="deleted"), REPLY), sent(deleted=True)),
        ("failed", (PROMPT, replace(REPLY, content="", status="failed", error="provider_unavailable")), sent()),
        ("failed", (PROMPT, replace(REPLY, content="", status="failed", error="attempts_exhausted")), sent()),
        ("unfinished", (PROMPT, replace(REPLY, status="streaming")), sent()),
        ("unfinished", (replace(PROMPT, status="queued"),), sent()),
        ("corrupted", (PROMPT, replace(REPLY, content=ANSWER + "w31 ")), sent()),
        ("corrupted", (PROMPT, replace(REPLY, content=ANSWER[:-4])), sent()),
        ("corrupted", (PROMPT, replace(REPLY, content=ANSWER[4:], status="stopped")), sent()),
    ],
)
def test_a_broken_promise_is_named(kind: str, rows: tuple[StoredMessage, ...], prompt: Sent) -> None:
    findings = found(*rows, prompt=prompt)
    assert getattr(findings, kind)
    assert not findings.clean


@pytest.mark.parametrize(
    ("rows", "prompt"),
    [
        ((), sent(accepted_at=None)),
        ((PROMPT, replace(REPLY, content=ANSWER[:9], status="stopped")), sent()),
        ((replace(PROMPT, status="deleted"),), sent(deleted=True)),
        ((PROMPT, REPLY, replace(REPLY, id="a2", position=3)), sent(maybe_regenerated=1)),
    ],
)
def test_what_users_and_providers_bring_about_is_no_fault(rows: tuple[StoredMessage, ...], prompt: Sent) -> None:
    shorter = replace(OBSERVATION, text=ANSWER[:5])
    assert found(*rows, prompt=prompt, observed=reading(*rows, observation=shorter, messages=_has(rows))).clean


def test_a_prompt_that_overtakes_another_is_named() -> None:
    history = History()
    history.add(sent())
    history.add(sent(message_id="p2", tokens=None))
    rows = [
        PROMPT,
        REPLY,
        replace(PROMPT, id="p2", position=3),
        replace(REPLY, id="a2", parent_id="p2", position=4),
    ]

    def reordered(rows: list[StoredMessage]) -> list[str]:
        stored = Stored({"c": 4}, {("c", row.id): row for row in rows}, [GENERATION])
        return check(history, stored, [], faults=[], progress=Progress(), now=NOW).reordered

    assert not reordered(rows)
    assert reordered([replace(PROMPT, position=5), *rows[1:]])


def _has(rows: tuple[StoredMessage, ...]) -> dict[str, tuple[str, str, str]]:
    return {row.id: (row.status, row.content, row.reasoning) for row in rows}


@pytest.mark.parametrize(
    "observed",
    [
        reading(version=3),
        reading(PROMPT),
        reading(PROMPT, replace(REPLY, content=ANSWER + " ")),
        reading(PROMPT, REPLY, replace(REPLY, id="ghost")),
        reading(observation=replace(OBSERVATION, text="another text")),
        reading(observation=replace(OBSERVATION, text=ANSWER + "w31")),
    ],
)
def test_a_reader_that_differs_is_named(observed: Reading) -> None:
    assert found(PROMPT, REPLY, observed=observed).differing


def test_a_reader_of_the_newest_page_need_not_have_what_is_older() -> None:
    assert found(PROMPT, REPLY, observed=reading(REPLY, whole=False)).clean
    assert found(PROMPT, REPLY, observed=reading(REPLY, whole=True)).differing


def test_what_was_seen_of_an_attempt_that_was_replaced_proves_nothing() -> None:
    assert found(PROMPT, REPLY, observed=reading(observation=replace(OBSERVATION, attempt=1, text="another"))).clean


def fault(at: float, kind: FaultKind, target: str, duration: float = 0.0) -> InjectedFault:
    return InjectedFault(at, PlannedFault(at=at, kind=kind, target=target, draw=0, duration=duration), target)


PROVIDER_AWAY = fault(1.5, FaultKind.KILL, "provider")
LINK_CUT = fault(0.0, FaultKind.CUT, "llm-worker → provider", 3.0)
WORKER_KILLED = fault(1.5, FaultKind.KILL, "llm-worker")


@pytest.mark.parametrize(
    ("error", "faults", "explained"),
    [
        ("provider_unavailable", [PROVIDER_AWAY], True),
        ("provider_unavailable", [LINK_CUT], True),
        ("provider_unavailable", [WORKER_KILLED], False),
        ("provider_unavailable", [replace(PROVIDER_AWAY, at=2.5)], False),
        ("provider_unavailable", [replace(PROVIDER_AWAY, at=-20.0)], False),
        ("attempts_exhausted", [WORKER_KILLED, WORKER_KILLED], True),
        ("attempts_exhausted", [WORKER_KILLED], False),
    ],
)
def test_only_what_was_broken_meanwhile_explains_a_failed_answer(
    error: str, faults: list[InjectedFault], explained: bool
) -> None:
    failed = replace(REPLY, content="", status="failed", error=error)
    assert (not found(PROMPT, failed, faults=faults).failed) is explained


def test_an_answer_that_stands_still_for_over_a_minute_is_named() -> None:
    slow = replace(GENERATION, created_at=1.0, ended_at=90.0)
    assert found(PROMPT, REPLY, generation=slow).stalled
    progress = Progress()
    for seq, now in ((1, 30.0), (5, 60.0)):
        progress.note("g", (1, seq, "running"), now)
    findings = found(PROMPT, REPLY, generation=slow, progress=progress)
    assert not findings.stalled
    assert [each.seconds for each in findings.stalls] == [30.0]
    assert found(PROMPT, REPLY, generation=replace(slow, ended_at=None)).stalled, "without an end it goes on until now"


def test_what_another_reader_had_before_is_no_progress() -> None:
    progress = Progress()
    for mark, now in (
        ((1, 5, "running"), 1.0),
        ((1, 5, "running"), 2.0),
        ((1, 3, "running"), 3.0),
        ((1, 5, "retrying"), 4.0),
        ((2, 0, "running"), 5.0),
        ((1, 9, "running"), 6.0),
    ):
        progress.note("g", mark, now)
    assert progress.seen == {"g": [1.0, 4.0, 5.0]}


def test_the_time_until_an_answer_begins_counts_from_the_prompt_or_the_end_of_the_answer_before() -> None:
    messages = {
        ("c", "a"): REPLY,
        ("c", "a2"): replace(REPLY, id="a2"),
        ("c", "b"): replace(REPLY, id="b", parent_id="q"),
    }
    first = replace(GENERATION, created_at=5.0, ended_at=6.0)
    queued = replace(GENERATION, id="h", message_id="b", created_at=16.0, ended_at=17.0)
    again = replace(GENERATION, id="i", message_id="a2", created_at=60.0, ended_at=61.0)
    stored = Stored({"c": 4}, messages, [first, queued, again])
    found = stalls(stored, Progress(), {"p": 1.0, "q": 2.0}, kills=[11.0], now=NOW)
    assert [(each.generation_id, each.began, each.seconds, each.during_kill) for each in found] == [
        ("g", 1.0, 4.0, False),
        ("h", 6.0, 10.0, True),
        ("i", 60.0, 1.0, False),
    ]


def test_a_prompt_whose_answer_is_empty_is_part_of_the_next_one() -> None:
    history = History()
    history.add(sent(tokens=None))
    history.add(sent(message_id="p2", content="again"))
    second = replace(PROMPT, id="p2", parent_id="a", content="again", position=3)
    joined = replace(REPLY, id="a2", parent_id="p2", content="".join(numbered(30, "hello\n\nagain")), position=4)
    for first, right in ((replace(REPLY, content="", status="stopped"), True), (REPLY, False)):
        rows = {("c", row.id): row for row in (PROMPT, first, second, joined)}
        findings = check(history, Stored({"c": 4}, rows, []), [], faults=[], progress=Progress(), now=NOW)
        assert (not findings.corrupted) is right
