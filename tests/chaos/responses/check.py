"""What must hold of what clients received, compared with what is stored. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from gateway.protocols.openai.responses_ids import answer_of
from tests.chaos.responses.reader import Reading
from tests.chaos.stored import Stored


@dataclass
class Findings:
    """Violations, each a sentence, and what was seen.

    Attributes:
        failed: Responses whose attempts were used up, all of them by faults.
    """

    violations: list[str] = field(default_factory=list)
    completed: int = 0
    failed: int = 0
    cuts: int = 0
    takeovers: int = 0
    characters: int = 0


def check(readings: Iterable[Reading], stored: Stored) -> Findings:
    """Check each reading: its end, the order of its events, and its text."""
    findings = Findings()
    attempts = {generation.message_id: generation.attempt for generation in stored.generations}
    for reading in readings:
        findings.cuts += reading.cuts
        findings.violations += [f"response {reading.number}: {what}" for what in _violations(reading, stored, findings)]
        if reading.response_id:
            findings.takeovers += max(0, attempts.get(answer_of(reading.response_id).message_id, 0) - 1)
    return findings


def _violations(reading: Reading, stored: Stored, findings: Findings) -> Iterable[str]:
    if not reading.final:
        yield f"no end came (after {reading.cuts} cuts)"
        return
    if any(later <= earlier for earlier, later in pairwise(reading.numbers)):
        yield "an event came twice, or out of order"
    ref = answer_of(reading.response_id)
    message = stored.messages[ref.chat_id, ref.message_id]
    text = _text(reading.final, reading.texts)
    if text is None:
        yield "the deltas of an item are not its text"
    if message.status == "complete":
        findings.completed += 1
        findings.characters += len(message.content)
        if text != message.content:
            yield f"{len(text or '')} characters were read, {len(message.content)} are stored"
    elif message.status == "failed" and message.error == "attempts_exhausted":
        findings.failed += 1
    else:
        yield f"it ended as {message.status} ({message.error})"


def _text(final: Mapping[str, object], texts: Mapping[str, str]) -> str | None:
    """Return the text of the items that are complete; None: what was streamed differs from it."""
    whole = ""
    for item in final["output"]:  # type: ignore[attr-defined]
        if item["type"] == "message" and item["status"] == "completed":
            said = "".join(part["text"] for part in item["content"])
            if texts.get(item["id"], "") != said:
                return None
            whole += said
    return whole
