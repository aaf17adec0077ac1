"""Comparing clocks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from parley_cli.doctor.report import Report

Clock = Callable[[], float]
"""Seconds since the epoch, as ``time.time``."""

_TOLERATED: Final = 5.0


def compare(report: Report, server: str, said: datetime, asked_at: float, answered_at: float) -> None:
    """Note how far a server's clock is from ours; a ticket for a websocket is good for a minute only."""
    ahead = said.timestamp() - (asked_at + answered_at) / 2
    # Half of the way there and back is what we cannot know.
    unsure = (answered_at - asked_at) / 2
    if abs(ahead) > _TOLERATED + unsure:
        report.problem(
            f"The clock of {server} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the one here.",
            "Let both machines keep time (NTP): sessions and tickets expire by the clock.",
        )
    else:
        report.ok(f"The clock of {server} agrees with the one here.")
