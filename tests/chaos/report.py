"""The report of a run, for people."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos.fault_injector import FaultInjector
from tests.chaos.history import History
from tests.chaos.invariants import Findings
from tests.chaos.machine_load import Sample, highest_load
from tests.chaos.plan import PARTS
from tests.chaos.progress import Stall
from tests.chaos.stored import Stored

_SHOWN = 10
_STALLS_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of a run.

    Attributes:
        began: When fault injection began, in Unix seconds.
        load: Of the machine during that time.
        unsent: Messages that were never accepted, although all faults were reverted.
        rest: Seconds from the last fault until all answers had ended and every reader was up to date.
        tracebacks: In the services' logs.
    """

    seed: int
    seconds: float
    began: float
    load: Sequence[Sample]
    history: History
    stored: Stored
    findings: Findings
    injector: FaultInjector
    readers: int
    unsent: int
    rest: float
    dead_letters: int
    tracebacks: int

    @property
    def good(self) -> bool:
        """Whether no invariant was violated, and at least one message accepted."""
        broken = self.unsent or self.history.refusals or self.dead_letters
        return self.findings.clean and not broken and bool(self.history.accepted)

    def lines(self) -> Iterable[str]:
        """The report, line by line."""
        findings, history = self.findings, self.history
        kills, others = self.injector.kills(), self.injector.others()
        yield f"seed {self.seed}, {self.seconds / 60:.1f} minutes"
        yield "killed: " + _counts([(part, kills[part]) for part in PARTS])
        yield "other faults: " + (_counts(sorted(others.items())) or "nothing")
        yield f"accepted: {len(history.accepted)} messages, {history.duplicates} of them sent three times at once"
        outcomes = _counts([(status, findings.outcomes[status]) for status in ("complete", "stopped", "failed")])
        yield f"answers: {sum(findings.outcomes.values())} ({outcomes}), {findings.takeovers} of several attempts"
        if findings.errors:
            yield "  why they failed: " + _counts(findings.errors.most_common())
        yield (
            f"readers: {self.readers}, who observed {findings.observed} answers to their end, "
            f"{findings.observed_whole} of them to the last token before the end was announced"
        )
        yield f"without progress: {self._longest_stall()}"
        longest = sorted(findings.stalls, key=lambda each: each.seconds, reverse=True)
        for each in longest[: max(_STALLS_SHOWN, len(findings.stalled))]:
            yield f"  {self._circumstances(each)}"
        yield f"quiescent {self.rest:.1f} s after the last fault; {self.tracebacks} tracebacks in the logs"
        for name, wrong in (
            ("lost", findings.lost),
            ("duplicated", findings.duplicated),
            ("unfinished", findings.unfinished),
            ("reordered", findings.reordered),
            ("corrupted", findings.corrupted),
            ("readers that differ", findings.differing),
            ("failed without a reason", findings.failed),
            ("without progress for over a minute", findings.stalled),
            ("refused", history.refusals),
        ):
            yield f"{name}: {len(wrong)}"
            yield from _some(wrong)
        yield f"never accepted: {self.unsent}"
        yield f"dead letters: {self.dead_letters}"
        yield "no invariant was violated" if self.good else "INVARIANT VIOLATION"

    def _longest_stall(self) -> str:
        """The longest stall, of all answers and of those during a kill."""
        every = [each.seconds for each in self.findings.stalls]
        during_kill = [each.seconds for each in self.findings.stalls if each.during_kill]
        if not every:
            return "no answer was started"
        text = f"at most {max(every):.1f} s"
        if during_kill:
            text += f"; around kills: median {statistics.median(during_kill):.1f} s, at most {max(during_kill):.1f} s"
        return text

    def _circumstances(self, stall: Stall) -> str:
        """When an answer was stalled, the faults at that time, and the load of the machine."""
        begin, end = stall.began, stall.began + stall.seconds
        faults = [
            f"{done.planned} at {done.at - self.began:.0f} s"
            for done in self.injector.done
            if done.at <= end and done.at + done.planned.duration >= begin - 1.0
        ]
        load = highest_load(self.load, begin, end)
        return (
            f"{stall.seconds:.1f} s from {begin - self.began:.1f} s on, generation {stall.generation_id}: "
            f"{', '.join(faults) or 'no fault'}"
            + (f"; load average up to {load:.1f} on {os.cpu_count()} CPUs" if load is not None else "")
        )


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in pairs)


def _some(lines: Sequence[str]) -> Iterable[str]:
    for line in lines[:_SHOWN]:
        yield f"  {line}"
    if len(lines) > _SHOWN:
        yield f"  and {len(lines) - _SHOWN} more"
