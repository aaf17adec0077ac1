"""Numbers of repeated measurements."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` of all are not above (nearest rank). ``ordered`` is sorted and not empty."""
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) + 0.5) - 1))]


@dataclass(frozen=True)
class Figure:
    """The same thing measured several times.

    Attributes:
        values: One per repeat.
        unit: As written behind the number.
    """

    values: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        text = f"{_short(self.median)} {self.unit}".strip()
        if len(self.values) > 1:
            text += f" ({_short(min(self.values))}–{_short(max(self.values))})"
        return text


def _short(value: float) -> str:
    """Three significant digits, as people write them."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
