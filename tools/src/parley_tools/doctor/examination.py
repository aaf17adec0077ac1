"""All checks of one patient."""

from __future__ import annotations

import asyncio
import time

from parley_tools.doctor import nats_check, ports_check, postgres_check, provider_check, settings_check
from parley_tools.doctor.clock import Clock
from parley_tools.doctor.patient import Patient
from parley_tools.doctor.report import Finding


async def examine(patient: Patient, *, clock: Clock = time.time) -> list[Finding]:
    """Return what was found. Changes nothing; one message that nobody takes is stored in NATS and deleted again."""
    reports = await asyncio.gather(
        asyncio.to_thread(settings_check.check, patient),
        ports_check.check(patient),
        nats_check.check(patient, clock),
        postgres_check.check(patient, clock),
        provider_check.check(patient),
    )
    return [finding for report in reports for finding in report.findings]
