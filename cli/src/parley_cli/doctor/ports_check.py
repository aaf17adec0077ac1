"""Before a stack runs: whether it could. While it runs: whether each of its processes serves."""

from __future__ import annotations

from typing import Final

from parley_cli.doctor.report import Report
from parley_cli.doctor.target import Patient
from parley_cli.embedded.errors import NotInstalled
from parley_cli.embedded.nats import nats_program
from parley_cli.embedded.ports import is_free
from parley_cli.embedded.postgres import postgres_program
from parley_cli.stack import probe
from parley_cli.stack.state import State

_OPTIONS: Final = {"page": "--port", "websocket": "--push-port"}
_IS_OURS: Final = {"page": probe.serves_page, "websocket": probe.serves_sockets}


async def check(patient: Patient) -> Report:
    if patient.stack is not None:
        return await _processes(patient.stack)
    return await _ports(patient)


async def _ports(patient: Patient) -> Report:
    report = Report("ports")
    for what, port in patient.ports.items():
        if is_free(port):
            report.ok(f"Port {port}, for the {what}, is free.")
        elif await _IS_OURS[what](port):
            report.note(f"On port {port}, for the {what}, something like Parley listens already.")
        else:
            report.problem(
                f"Port {port}, for the {what}, is taken by another program.",
                f"Stop that one, or start with another port: parley up {_OPTIONS[what]} N",
            )
    for needed, name, find in (
        (not patient.nats_url, "nats-server", nats_program),
        (not patient.database_url, "PostgreSQL", lambda: postgres_program("postgres")),
    ):
        if needed:
            try:
                report.ok(f"{name} is installed: {find()}")
            except NotInstalled as error:
                report.problem(str(error), "Install Parley's tools again, or name a server of yours.")
    return report


async def _processes(stack: State) -> Report:
    report = Report("stack")
    if not stack.ready:
        report.note("The stack is still starting.", "Look again in a moment.")
    for name, process in stack.processes.items():
        again = f" (it was started again {process.restarts} times)" if process.restarts else ""
        if process.pid is None:
            report.problem(f"{name} is down{again}.", "Its last words are in the log of `parley up`.")
            continue
        if process.health_port is None:
            continue
        status, body = await probe.get(process.health_port, "/readyz")
        if status == 200:
            report.ok(f"{name} is ready{again}.")
        elif status == 0:
            report.problem(
                f"{name} runs as process {process.pid} and does not answer{again}.",
                f"If it stays so, end it (kill {process.pid}): the stack starts it again. The log says more.",
            )
        else:
            report.problem(
                f"{name} is not ready{again}: {' '.join(body.split())}", "See below what it waits for, and its log."
            )
    return report
