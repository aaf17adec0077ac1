"""Comparison of the clocks of the machines on which the services run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import combinations
from typing import Final

import msgspec

from parley.runtime.tokens import LEEWAY
from parley_cli.doctor.clock import Clock
from parley_cli.doctor.report import Report
from parley_cli.doctor.target import Target
from parley_cli.embedded.ports import LOOPBACK
from parley_cli.stack import probe

_FIX: Final = "Let the machines keep time (NTP): sessions and tickets of one service are refused by another."
_HERE: Final = "this machine"


class _Readiness(msgspec.Struct):
    time: float


async def check(target: Target, clock: Clock) -> Report:
    """Compare the clocks of the services of the stack and of ``target.services``."""
    report = Report("clocks")
    addresses = dict(target.services)
    if target.stack is not None:
        for name, process in target.stack.processes.items():
            # The clock of a model server does not matter.
            if process.health_port is not None and process.health_port != process.port:
                addresses[name] = (LOOPBACK, process.health_port)
    readings = await asyncio.gather(*(_clock_offset(*address, clock) for address in addresses.values()))
    known: dict[str, float] = {}
    for name, ahead in zip(addresses, readings, strict=True):
        if ahead is not None:
            known[name] = ahead
        elif name in target.services:
            report.problem(f"{name} does not report its time.", "Give its HEALTH_PORT; it must be reachable from here.")
    compare(report, known)
    return report


def compare(report: Report, ahead: Mapping[str, float]) -> None:
    """Report clocks that differ by more than the leeway of tokens; ``ahead``: of the local one, in seconds."""
    found = False
    clocks = sorted({_HERE: 0.0, **ahead}.items(), key=lambda item: item[1])
    for (behind, low), (name, high) in combinations(clocks, 2):
        if high - low > LEEWAY:
            found = True
            report.problem(f"The clock of {name} is {high - low:.0f} s ahead of that of {behind}.", _FIX)
    if ahead and not found:
        report.ok(f"The clocks of {len(ahead)} services agree with each other and with the one here.")


async def _clock_offset(host: str, port: int, clock: Clock) -> float | None:
    """Return how far, at least, a service's clock is ahead, in seconds; None when it does not report its time."""
    asked = clock()
    _, body = await probe.get(port, "/readyz", host)
    answered = clock()
    try:
        reported = msgspec.json.decode(body, type=_Readiness).time
    except msgspec.DecodeError:
        return None
    # The service read its clock between the two readings here.
    return reported - min(max(reported, asked), answered)
