"""The invariants: what is stored and what readers assembled, compared with the history. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from parley_cli.demo_model.answers import numbered
from parley_client.state import TERMINAL
from tests.chaos.history import History, Sent
from tests.chaos.plan import InjectedFault
from tests.chaos.progress import MAX_SECONDS, Progress, Stall, stalls
from tests.chaos.reader import Observation
from tests.chaos.stored import Stored, StoredGeneration, StoredMessage

_RECOVERY = 10.0
"""Seconds after a fault in which it still has effects: processes restart, clients reconnect."""
_FAULTS_PER_EXHAUSTION = 2
"""Faults that exhaust the three attempts of an answer: one in each of the first two, at least."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The final state of a reader.

    Attributes:
        messages: (status, content, reasoning) by message id.
        whole: Whether it has the chat from its first message on.
    """

    reader: str
    chat_id: str
    version: int
    messages: Mapping[str, tuple[str, str, str]]
    whole: bool
    observations: Sequence[Observation] = ()


@dataclass
class Findings:
    """The invariant violations by kind, as messages for people, and figures of the run."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    corrupted: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stalled: list[str] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    observed: int = 0
    observed_whole: int = 0
    takeovers: int = 0

    @property
    def clean(self) -> bool:
        wrong = (self.lost, self.duplicated, self.unfinished, self.reordered, self.corrupted, self.differing)
        return not any((*wrong, self.failed, self.stalled))


def check(
    history: History,
    stored: Stored,
    readings: Iterable[Reading],
    *,
    faults: Sequence[InjectedFault],
    progress: Progress,
    now: float,
) -> Findings:
    """Check all invariants.

    Args:
        faults: The injected faults. Only they explain a failed answer.
        progress: The progress that readers saw.
        now: Unix seconds.
    """
    findings = Findings()
    for sent in history.sent.values():
        _check_prompt(findings, sent, stored)
    _check_order(findings, history, stored)
    _check_rows(findings, history, stored)
    for generation in stored.generations:
        _check_failure(findings, generation, stored, faults)
    for reading in readings:
        _check_reader(findings, reading, stored)
    accepted = {sent.message_id: sent.accepted_at for sent in history.sent.values() if sent.accepted_at is not None}
    kills = [fault.at for fault in faults if fault.is_kill]
    findings.stalls = stalls(stored, progress, accepted, kills, now)
    for each in findings.stalls:
        if each.seconds > MAX_SECONDS:
            name = f"generation {each.generation_id} of chat {each.chat_id}"
            findings.stalled.append(f"{name}: nothing happened for {each.seconds:.0f} s")
    return findings


def _check_prompt(findings: Findings, sent: Sent, stored: Stored) -> None:
    name = f"prompt {sent.message_id} of chat {sent.chat_id}"
    row = stored.messages.get((sent.chat_id, sent.message_id))
    if row is None:
        if sent.accepted_at is not None:
            findings.lost.append(f"{name} was accepted and is not stored")
        return
    answers = stored.answers_to(sent.chat_id, sent.message_id)
    if row.status == "deleted" and sent.deleted:
        if answers:
            findings.duplicated.append(f"{name} was deleted and has an answer")
        return
    if row.content != sent.content:
        findings.lost.append(f"{name} is stored with another text")
    if row.status != "sent":
        findings.unfinished.append(f"{name} is still {row.status}")
    elif len(answers) < 1 + sent.regenerated:
        findings.lost.append(f"{name} has {len(answers)} answers of {1 + sent.regenerated}")
    elif len(answers) > 1 + sent.regenerated + sent.maybe_regenerated:
        most = 1 + sent.regenerated + sent.maybe_regenerated
        findings.duplicated.append(f"{name} has {len(answers)} answers instead of {most} at most")
    for answer in answers:
        _check_answer(findings, sent, answer, _model_input(row, stored))


def _model_input(prompt: StoredMessage, stored: Stored) -> str:
    """Return the last message that the model got: a prompt whose answer is empty is joined with the next one."""
    contents = [prompt.content]
    while True:
        answer = stored.messages.get((prompt.chat_id, prompt.parent_id or ""))
        before = stored.messages.get((prompt.chat_id, (answer.parent_id if answer is not None else None) or ""))
        if answer is None or before is None or answer.content.strip():
            return "\n\n".join(reversed(contents))
        prompt = before
        contents.append(prompt.content)


def _check_answer(findings: Findings, sent: Sent, answer: StoredMessage, asked: str) -> None:
    name = f"answer {answer.id} of chat {answer.chat_id}"
    if answer.status not in TERMINAL:
        findings.unfinished.append(f"{name} is {answer.status}")
        return
    findings.outcomes[answer.status] += 1
    if answer.status == "failed":
        findings.errors[answer.error or "?"] += 1
    if sent.tokens is None:
        return
    expected = "".join(numbered(sent.tokens, asked))
    if answer.status == "complete" and answer.content != expected:
        findings.corrupted.append(f"{name} differs from the model's output: {_difference(answer.content, expected)}")
    elif not expected.startswith(answer.content):
        findings.corrupted.append(f"{name} is not a prefix of the model's output")


def _check_failure(
    findings: Findings, generation: StoredGeneration, stored: Stored, faults: Sequence[InjectedFault]
) -> None:
    """A failed answer is a violation, unless a fault at that time explains it."""
    answer = stored.messages.get((generation.chat_id, generation.message_id))
    if answer is None or answer.status != "failed" or generation.ended_at is None:
        return
    meanwhile = [
        fault
        for fault in faults
        if fault.at <= generation.ended_at and fault.at + fault.planned.duration + _RECOVERY >= generation.created_at
    ]
    if answer.error == "attempts_exhausted":
        explained = len(meanwhile) >= _FAULTS_PER_EXHAUSTION
    else:
        explained = any("provider" in fault.planned.target for fault in meanwhile)
    if not explained:
        findings.failed.append(f"answer {answer.id} of chat {answer.chat_id} failed for no reason: {answer.error}")


def _check_order(findings: Findings, history: History, stored: Stored) -> None:
    """Each user sends a message after the previous one was accepted, so they are answered in that order."""
    last: dict[str, int] = {}
    for sent in history.sent.values():
        row = stored.messages.get((sent.chat_id, sent.message_id))
        if row is None or row.status != "sent":
            continue
        if row.position < last.get(sent.chat_id, 0):
            findings.reordered.append(f"prompt {row.id} of chat {row.chat_id} overtook one that was sent before it")
        last[sent.chat_id] = max(row.position, last.get(sent.chat_id, 0))


def _check_rows(findings: Findings, history: History, stored: Stored) -> None:
    for row in stored.messages.values():
        if row.role == "user" and (row.chat_id, row.id) not in history.sent:
            findings.duplicated.append(f"prompt {row.id} of chat {row.chat_id} is not in the history")
        if row.role == "assistant" and (row.chat_id, row.parent_id or "") not in stored.messages:
            findings.duplicated.append(f"answer {row.id} of chat {row.chat_id} has no prompt")
        if row.version > stored.versions[row.chat_id]:
            findings.corrupted.append(f"message {row.id} is newer than its chat {row.chat_id}")
    per_answer = Counter((each.chat_id, each.message_id) for each in stored.generations)
    for (chat_id, message_id), count in per_answer.items():
        if count > 1:
            findings.duplicated.append(f"answer {message_id} of chat {chat_id} has {count} generations")
    for generation in stored.generations:
        findings.takeovers += generation.attempt > 1
        if generation.ended_at is None:
            findings.unfinished.append(
                f"generation {generation.id} of chat {generation.chat_id} is {generation.status}"
            )


def _check_reader(findings: Findings, reading: Reading, stored: Stored) -> None:
    chat_id = reading.chat_id
    name = f"{reading.reader} of chat {chat_id}"
    rows = {row.id: row for row in stored.messages.values() if row.chat_id == chat_id}
    if reading.version != stored.versions.get(chat_id):
        findings.differing.append(f"{name} is at version {reading.version} of {stored.versions.get(chat_id)}")
    oldest = min((rows[each].position for each in reading.messages if each in rows), default=0)
    for row in rows.values():
        has = reading.messages.get(row.id)
        if has is None:
            if reading.whole or row.position >= oldest:
                findings.differing.append(f"{name} is missing {row.role} message {row.id}")
        elif has != (row.status, row.content, row.reasoning):
            findings.differing.append(f"{name} has another message {row.id}: {has[0]} instead of {row.status}")
    for message_id in reading.messages.keys() - rows.keys():
        findings.differing.append(f"{name} has message {message_id}, which is not stored")
    attempts = {each.id: each.attempt for each in stored.generations}
    for observation in reading.observations:
        answer = rows.get(observation.message_id)
        # A failed answer has the segments of each second, which can be less than the deltas; and of an attempt that
        # another one replaced there is nothing stored to compare with.
        if (
            answer is None
            or answer.status == "failed"
            or attempts.get(observation.generation_id) != observation.attempt
        ):
            continue
        findings.observed += 1
        findings.observed_whole += (observation.text, observation.reasoning) == (answer.content, answer.reasoning)
        if not (answer.content.startswith(observation.text) and answer.reasoning.startswith(observation.reasoning)):
            difference = _difference(observation.text, answer.content)
            findings.differing.append(f"{name} saw another text for answer {answer.id}: {difference}")


def _difference(one: str, other: str) -> str:
    at = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    return f"{len(one)} and {len(other)} characters, differing at {at}: {one[at : at + 30]!r}, {other[at : at + 30]!r}"
