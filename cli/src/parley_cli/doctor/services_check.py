"""Whether the machines that the services run on agree about the time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from parley.runtime.tokens import LEEWAY
from parley_cli.doctor.clock import Clock
from parley_cli.doctor.report import Report
from parley_cli.doctor.target import Patient
from parley_cli.embedded.ports import LOOPBACK
from parley_cli.stack import probe

_REMEDY: Final = "Let the machines keep time (NTP): sessions and tickets of one service are refused by another."
_HERE: Final = "this machine"


class _Said(msgspec.Struct):
    time: float


async def check(patient: Patient, clock: Clock) -> Report:
    """Ask the services of the stack and those that were named for the time."""
    report = Report("clocks")
    addresses = dict(patient.services)
    if patient.stack is not None:
        for name, process in patient.stack.processes.items():
            # Model servers have no clock that matters.
            if process.health_port is not None and process.health_port != process.port:
                addresses[name] = (LOOPBACK, process.health_port)
    readings = await asyncio.gather(*(_ahead(*address, clock) for address in addresses.values()))
    known: dict[str, float] = {}
    for name, ahead in zip(addresses, readings, strict=True):
        if ahead is not None:
            known[name] = ahead
        elif name in patient.services:
            report.problem(f"{name} does not say what time it is.", "Name its HEALTH_PORT, reachable from here.")
    compare(report, known)
    return report


def compare(report: Report, ahead: Mapping[str, float]) -> None:
    """Report clocks that differ by more than tokens allow for; ``ahead`` of the one here by seconds, by service."""
    found = False
    clocks = sorted({_HERE: 0.0, **ahead}.items(), key=lambda item: item[1])
    for index, (behind, low) in enumerate(clocks):
        for name, high in clocks[index + 1 :]:
            if high - low > LEEWAY:
                found = True
                report.problem(f"The clock of {name} is {high - low:.0f} s ahead of that of {behind}.", _REMEDY)
    if ahead and not found:
        report.ok(f"The clocks of {len(ahead)} services agree with each other and with the one here.")


async def _ahead(host: str, port: int, clock: Clock) -> float | None:
    """Return by how many seconds, at least, a service's clock differs; None when it does not say."""
    asked = clock()
    _, body = await probe.get(port, "/readyz", host)
    answered = clock()
    try:
        said = msgspec.json.decode(body, type=_Said).time
    except msgspec.DecodeError:
        return None
    # It looked at its clock some time between the two.
    return said - min(max(said, asked), answered)
