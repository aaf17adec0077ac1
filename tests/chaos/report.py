"""What a run found, for people."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos.fault_injector import Saboteur
from tests.chaos.history import Ledger
from tests.chaos.invariants import Findings
from tests.chaos.machine_load import Load
from tests.chaos.plan import PARTS
from tests.chaos.progress import Standstill
from tests.chaos.stored import Stored

_SHOWN = 10
_STANDSTILLS_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a run has to say.

    Attributes:
        began: Of the deeds, in Unix seconds.
        load: Of the machine meanwhile.
        unsent: Messages that no gateway would take, though all was well again.
        rest: Seconds from the last deed until everything had ended and every reader was up to date.
        tracebacks: In the services' logs.
    """

    seed: int
    seconds: float
    began: float
    load: Load
    ledger: Ledger
    stored: Stored
    findings: Findings
    saboteur: Saboteur
    readers: int
    unsent: int
    rest: float
    dead_letters: int
    tracebacks: int

    @property
    def good(self) -> bool:
        """Whether every promise was kept, and there was one."""
        broken = self.unsent or self.ledger.refusals or self.dead_letters
        return self.findings.clean and not broken and bool(self.ledger.accepted)

    def lines(self) -> Iterable[str]:
        """The report, line by line."""
        findings, ledger = self.findings, self.ledger
        kills, others = self.saboteur.kills(), self.saboteur.others()
        yield f"seed {self.seed}, {self.seconds / 60:.1f} minutes"
        yield "killed: " + _counts([(part, kills[part]) for part in PARTS])
        yield "besides: " + (_counts(sorted(others.items())) or "nothing")
        yield f"accepted: {len(ledger.accepted)} messages, {ledger.duplicates} of them sent three times at once"
        outcomes = _counts([(status, findings.outcomes[status]) for status in ("complete", "stopped", "failed")])
        yield f"answers: {sum(findings.outcomes.values())} ({outcomes}), {findings.takeovers} of several attempts"
        if findings.errors:
            yield "  why they failed: " + _counts(findings.errors.most_common())
        yield (
            f"readers: {self.readers}, who saw {findings.witnessed} answers grow to their end, "
            f"{findings.witnessed_whole} of them to the last token before they were told of it"
        )
        yield f"without progress: {self._standstill()}"
        longest = sorted(findings.standstills, key=lambda each: each.seconds, reverse=True)
        for each in longest[: max(_STANDSTILLS_SHOWN, len(findings.stalled))]:
            yield f"  {self._circumstances(each)}"
        yield f"at rest {self.rest:.1f} s after the last deed; {self.tracebacks} tracebacks in the logs"
        for name, wrong in (
            ("lost", findings.lost),
            ("doubled", findings.doubled),
            ("without an end", findings.endless),
            ("out of order", findings.disordered),
            ("not as the model said", findings.garbled),
            ("readers that differ", findings.differing),
            ("failed without a reason", findings.failed),
            ("without progress for over a minute", findings.stalled),
            ("refused", ledger.refusals),
        ):
            yield f"{name}: {len(wrong)}"
            yield from _some(wrong)
        yield f"never accepted: {self.unsent}"
        yield f"dead letters: {self.dead_letters}"
        yield "nothing was lost" if self.good else "THE PROMISE WAS BROKEN"

    def _standstill(self) -> str:
        """The longest time without progress, of all answers and of those during which something was killed."""
        every = [each.seconds for each in self.findings.standstills]
        struck = [each.seconds for each in self.findings.standstills if each.struck]
        if not every:
            return "no answer was begun"
        text = f"at most {max(every):.1f} s"
        if struck:
            text += f"; around kills: median {statistics.median(struck):.1f} s, at most {max(struck):.1f} s"
        return text

    def _circumstances(self, standstill: Standstill) -> str:
        """When an answer stood still, what was broken meanwhile, and how busy the machine was."""
        begin, end = standstill.began, standstill.began + standstill.seconds
        deeds = [
            f"{done.disruption} at {done.at - self.began:.0f} s"
            for done in self.saboteur.done
            if done.at <= end and done.at + done.disruption.duration >= begin - 1.0
        ]
        load = self.load.most(begin, end)
        return (
            f"{standstill.seconds:.1f} s from {begin - self.began:.1f} s on, generation {standstill.generation_id}: "
            f"{', '.join(deeds) or 'nothing was broken'}"
            + (f"; load average up to {load:.1f} on {os.cpu_count()} CPUs" if load is not None else "")
        )


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in pairs)


def _some(lines: Sequence[str]) -> Iterable[str]:
    for line in lines[:_SHOWN]:
        yield f"  {line}"
    if len(lines) > _SHOWN:
        yield f"  and {len(lines) - _SHOWN} more"
