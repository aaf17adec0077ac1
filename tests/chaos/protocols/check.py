"""What must hold of what clients received, compared with what is stored. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.protocols.reader import Reading
from tests.chaos.stored import Stored


@dataclass
class Findings:
    """Violations, each a sentence, and what was seen.

    Attributes:
        failed: Answers whose attempts were used up, all of them by faults.
    """

    violations: list[str] = field(default_factory=list)
    completed: int = 0
    failed: int = 0
    cuts: int = 0
    takeovers: int = 0
    events: int = 0
    characters: int = 0


def check(readings: Iterable[Reading], stored: Stored) -> Findings:
    """Check each reading: its end, the order of its events, its text, and that it asked for one answer."""
    findings = Findings()
    for reading in readings:
        findings.cuts += reading.cuts
        findings.events += len(reading.numbers)
        of_chat = [generation for generation in stored.generations if generation.chat_id == reading.chat_id]
        findings.takeovers += sum(max(0, generation.attempt - 1) for generation in of_chat)
        findings.violations += [f"answer {reading.number}: {what}" for what in _violations(reading, stored, findings)]
    return findings


def _violations(reading: Reading, stored: Stored, findings: Findings) -> Iterable[str]:
    if any(later <= earlier for earlier, later in pairwise(reading.numbers)):
        yield "an event came twice, or out of order"
    if reading.problem:
        yield reading.problem
    if not reading.end:
        yield f"no end came (after {reading.cuts} cuts)"
        return
    in_chat = [message for message in stored.messages.values() if message.chat_id == reading.chat_id]
    if sorted(message.role for message in in_chat) != ["assistant", "user"]:
        yield f"its chat has {len(in_chat)} messages"
        return
    message = next(message for message in in_chat if message.role == "assistant")
    if message.status == "complete":
        findings.completed += 1
        findings.characters += len(message.content)
        if reading.text != message.content:
            yield f"{len(reading.text)} characters were read, {len(message.content)} are stored"
        if reading.reasoning != message.reasoning:
            yield f"{len(reading.reasoning)} characters of reasoning were read, {len(message.reasoning)} are stored"
    elif message.status == "failed" and message.error == "attempts_exhausted":
        findings.failed += 1
    else:
        yield f"it is stored as {message.status} ({message.error})"
    if message.status != reading.end:
        yield f"the client was shown that it is {reading.end}, it is stored as {message.status}"
