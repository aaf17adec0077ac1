"""All checks of a target."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final

from parley_cli.deadline import DeadlinePassed, within
from parley_cli.doctor import nats_check, ports_check, postgres_check, provider_check, services_check, settings_check
from parley_cli.doctor.clock import Clock
from parley_cli.doctor.report import Finding, Report
from parley_cli.doctor.target import Target

_TIMEOUT: Final = 60.0


async def run_checks(target: Target, *, clock: Clock = time.time) -> list[Finding]:
    """Return all findings. Changes nothing: the message that is published to test NATS is deleted again."""
    reports = await asyncio.gather(
        asyncio.to_thread(settings_check.check, target),
        _with_timeout("ports", ports_check.check(target)),
        _with_timeout("clocks", services_check.check(target, clock)),
        _with_timeout("nats", nats_check.check(target, clock)),
        _with_timeout("postgres", postgres_check.check(target, clock)),
        _with_timeout("provider", provider_check.check(target)),
    )
    # An empty server means a new installation, or lost data: then the other server is not empty.
    new = not any(report.made for report in reports)
    return [finding for report in reports for finding in report.all_findings(new=new)]


async def _with_timeout(about: str, check: Coroutine[Any, Any, Report]) -> Report:
    try:
        return await within(_TIMEOUT, check)
    except DeadlinePassed:
        report = Report(about)
        report.problem(
            f"The check did not complete within {_TIMEOUT:g} seconds.", "Look at the server's log; it may hang."
        )
        return report
