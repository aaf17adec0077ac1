"""The common base of scenarios: sizes, results, waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from parley_bench.statistics import Figure
from parley_cli.polling import poll

Sample: TypeAlias = dict[str, tuple[float, str]]
"""The figures of one repeat, with their units, by column in order."""


class NoMeasurement(Exception):
    """The scenario did not reach the state to be measured."""


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        repeats: Of each measurement.
        window: Seconds that are measured.
        share: The share of the full number of answers and readers; below 1 only shows that the scenario works.
        on_row: Called with a long scenario's table for each row, so that a run that is cut off leaves what it has.
    """

    repeats: int = 3
    window: float = 12.0
    share: float = 1.0
    on_row: Callable[[Table], None] = lambda table: None

    def of(self, count: int) -> int:
        return max(1, round(count * self.share))


FULL = Size()
SMOKE = Size(repeats=1, window=3.0, share=0.02)


@dataclass(frozen=True)
class Row:
    """One line of the results: what was measured, and the figures by column."""

    what: str
    figures: dict[str, Figure]


@dataclass
class Table:
    """The results of a scenario.

    Attributes:
        notes: How to interpret the numbers, one sentence each.
        failures: Wrong results, for example a text that differs.
        on_row: Called after each row.
    """

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    on_row: Callable[[Table], None] = lambda table: None

    def add(self, what: str, samples: list[Sample]) -> None:
        """Add a line from one sample per repeat."""
        figures = {
            name: Figure(tuple(sample[name][0] for sample in samples), unit) for name, (_, unit) in samples[0].items()
        }
        self.rows.append(Row(what, figures))
        self.on_row(self)


OnProgress = Callable[[str], None]
Scenario = Callable[[Size, OnProgress], Awaitable[Table]]


async def repeat(
    size: Size, on_progress: OnProgress, what: str, measure: Callable[[], Awaitable[Sample]]
) -> list[Sample]:
    """Return one sample per repeat, each reported as soon as it is measured."""
    samples = []
    for number in range(size.repeats):
        samples.append(await measure())
        on_progress(f"{what}, {number + 1} of {size.repeats}: {brief(samples[-1])}")
    return samples


def brief(sample: Sample) -> str:
    """Return the numbers of a sample in one line."""
    return ", ".join(f"{name} {value:.1f}" for name, (value, _) in sample.items())


async def until(condition: Callable[[], Awaitable[bool]], seconds: float, what: str, every: float = 0.1) -> None:
    """Wait for the condition. Raises NoMeasurement."""
    try:
        await poll(condition, timeout=seconds, every=every)
    except TimeoutError:
        raise NoMeasurement(f"{what}: not within {seconds:g} s") from None
