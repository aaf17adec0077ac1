"""All checks of one patient."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final

from parley_cli.deadline import DeadlinePassed, within
from parley_cli.doctor import nats_check, ports_check, postgres_check, provider_check, services_check, settings_check
from parley_cli.doctor.clock import Clock
from parley_cli.doctor.report import Finding, Report
from parley_cli.doctor.target import Patient

_TIMEOUT: Final = 60.0


async def examine(patient: Patient, *, clock: Clock = time.time) -> list[Finding]:
    """Return what was found. Changes nothing; one message that nobody takes is stored in NATS and deleted again."""
    reports = await asyncio.gather(
        asyncio.to_thread(settings_check.check, patient),
        _within("ports", ports_check.check(patient)),
        _within("clocks", services_check.check(patient, clock)),
        _within("nats", nats_check.check(patient, clock)),
        _within("postgres", postgres_check.check(patient, clock)),
        _within("provider", provider_check.check(patient)),
    )
    # A server is empty because nothing was installed yet, or because it lost everything: then the other one is not.
    new = not any(report.made for report in reports)
    return [finding for report in reports for finding in report.all_findings(new=new)]


async def _within(about: str, check: Coroutine[Any, Any, Report]) -> Report:
    try:
        return await within(_TIMEOUT, check)
    except DeadlinePassed:
        report = Report(about)
        report.problem(
            f"Looking at this did not end within {_TIMEOUT:g} seconds.", "See whether the server hangs, and its log."
        )
        return report
