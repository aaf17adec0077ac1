"""Comparison of clocks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from parley_cli.doctor.report import Report

Clock = Callable[[], float]
"""Seconds since the epoch, as ``time.time``."""

_TOLERATED: Final = 5.0


def compare(report: Report, server: str, server_time: datetime, asked_at: float, answered_at: float) -> None:
    """Report whether a server's clock agrees with the local one; a push ticket expires after a minute."""
    ahead = server_time.timestamp() - (asked_at + answered_at) / 2
    # The reading is exact to half of the round trip.
    uncertainty = (answered_at - asked_at) / 2
    if abs(ahead) > _TOLERATED + uncertainty:
        report.problem(
            f"The clock of {server} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the one here.",
            "Let both machines keep time (NTP): sessions and tickets expire by the clock.",
        )
    else:
        report.ok(f"The clock of {server} agrees with the one here.")
