"""What counts as a broken promise."""

from dataclasses import replace

import pytest

from parley_tools.chaos.checks import Findings, Reading, check
from parley_tools.chaos.ledger import Ledger, Sent
from parley_tools.chaos.reader import Witness
from parley_tools.chaos.stored import Stored, StoredGeneration, StoredMessage
from parley_tools.demo_model.answers import numbered

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
WITNESS = Witness(message_id="a", generation_id="g", attempt=2, text=ANSWER, reasoning="")


def sent(**changes: object) -> Sent:
    fields = {"chat_id": "c", "message_id": "p", "content": "hello", "model": "demo-rate-9x30", "tokens": 30}
    return Sent(**(fields | {"accepted_at": 1.0} | changes))  # type: ignore[arg-type]


def reading(*messages: StoredMessage, witness: Witness = WITNESS, **changes: object) -> Reading:
    has = {each.id: (each.status, each.content, each.reasoning) for each in messages or (PROMPT, REPLY)}
    fields = {"reader": "r", "chat_id": "c", "version": 4, "messages": has, "whole": True, "witnesses": [witness]}
    return Reading(**(fields | changes))  # type: ignore[arg-type]


def found(
    *rows: StoredMessage,
    prompt: Sent | None = None,
    generation: StoredGeneration = GENERATION,
    says: Reading | None = None,
) -> Findings:
    ledger = Ledger()
    ledger.add(prompt or sent())
    messages = {(row.chat_id, row.id): row for row in rows}
    return check(ledger, Stored({"c": 4}, messages, [generation] if rows else []), [says or reading(*rows)])


def test_a_message_with_its_answer_is_all_one_can_ask_for() -> None:
    findings = found(PROMPT, REPLY)
    assert findings.clean
    assert findings.outcomes == {"complete": 1}
    assert (findings.witnessed, findings.takeovers) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "rows", "prompt"),
    [
        ("lost", (), sent()),
        ("lost", (PROMPT,), sent()),
        ("lost", (replace(PROMPT, content="hell"), REPLY), sent()),
        ("lost", (PROMPT, REPLY), sent(regenerated=1)),
        ("doubled", (PROMPT, REPLY, replace(REPLY, id="a2", position=3)), sent()),
        ("doubled", (PROMPT, REPLY, replace(PROMPT, id="p2", position=3)), sent()),
        ("doubled", (PROMPT, REPLY, replace(REPLY, id="a2", parent_id="gone", position=3)), sent()),
        ("doubled", (replace(PROMPT, status="deleted"), REPLY), sent(deleted=True)),
        ("endless", (PROMPT, replace(REPLY, status="streaming")), sent()),
        ("endless", (replace(PROMPT, status="queued"),), sent()),
        ("garbled", (PROMPT, replace(REPLY, content=ANSWER + "w31 ")), sent()),
        ("garbled", (PROMPT, replace(REPLY, content=ANSWER[:-4])), sent()),
        ("garbled", (PROMPT, replace(REPLY, content=ANSWER[4:], status="stopped")), sent()),
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
        ((PROMPT, replace(REPLY, content="", status="failed")), sent()),
        ((replace(PROMPT, status="deleted"),), sent(deleted=True)),
        ((PROMPT, REPLY, replace(REPLY, id="a2", position=3)), sent(maybe_regenerated=True)),
    ],
)
def test_what_users_and_providers_bring_about_is_no_fault(rows: tuple[StoredMessage, ...], prompt: Sent) -> None:
    shorter = replace(WITNESS, text=ANSWER[:5])
    assert found(*rows, prompt=prompt, says=reading(*rows, witness=shorter, messages=_has(rows))).clean


def test_a_prompt_that_overtakes_another_is_named() -> None:
    ledger = Ledger()
    ledger.add(sent())
    ledger.add(sent(message_id="p2", tokens=None))
    rows = [
        PROMPT,
        REPLY,
        replace(PROMPT, id="p2", position=3),
        replace(REPLY, id="a2", parent_id="p2", position=4),
    ]

    def disordered(rows: list[StoredMessage]) -> list[str]:
        return check(ledger, Stored({"c": 4}, {("c", row.id): row for row in rows}, [GENERATION]), []).disordered

    assert not disordered(rows)
    assert disordered([replace(PROMPT, position=5), *rows[1:]])


def _has(rows: tuple[StoredMessage, ...]) -> dict[str, tuple[str, str, str]]:
    return {row.id: (row.status, row.content, row.reasoning) for row in rows}


@pytest.mark.parametrize(
    "says",
    [
        reading(version=3),
        reading(PROMPT),
        reading(PROMPT, replace(REPLY, content=ANSWER + " ")),
        reading(PROMPT, REPLY, replace(REPLY, id="ghost")),
        reading(witness=replace(WITNESS, text="another text")),
        reading(witness=replace(WITNESS, text=ANSWER + "w31")),
    ],
)
def test_a_reader_that_differs_is_named(says: Reading) -> None:
    assert found(PROMPT, REPLY, says=says).differing


def test_a_reader_of_the_newest_page_need_not_have_what_is_older() -> None:
    assert found(PROMPT, REPLY, says=reading(REPLY, whole=False)).clean
    assert found(PROMPT, REPLY, says=reading(REPLY, whole=True)).differing


def test_what_was_seen_of_an_attempt_that_was_replaced_proves_nothing() -> None:
    assert found(PROMPT, REPLY, says=reading(witness=replace(WITNESS, attempt=1, text="another"))).clean
