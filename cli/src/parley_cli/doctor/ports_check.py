"""Check of the ports and programs that a stack would need; of its processes while it runs."""

from __future__ import annotations

from typing import Final

from parley_cli.doctor.report import Report
from parley_cli.doctor.target import Target
from parley_cli.embedded.errors import NotInstalled
from parley_cli.embedded.nats import nats_program
from parley_cli.embedded.ports import is_free
from parley_cli.embedded.postgres import postgres_program
from parley_cli.stack import probe
from parley_cli.stack.state import State

_OPTIONS: Final = {"page": "--port", "websocket": "--push-port"}
_IS_OURS: Final = {"page": probe.serves_page, "websocket": probe.serves_sockets}


async def check(target: Target) -> Report:
    if target.stack is not None:
        return await _processes(target.stack)
    return await _ports(target)


async def _ports(target: Target) -> Report:
    report = Report("ports")
    for what, port in target.ports.items():
        if is_free(port):
            report.ok(f"Port {port}, for the {what}, is free.")
        elif await _IS_OURS[what](port):
            report.note(f"On port {port}, for the {what}, Parley seems to run already.")
        else:
            report.problem(
                f"Port {port}, for the {what}, is taken by another program.",
                f"Stop that program, or choose another port: parley up {_OPTIONS[what]} N",
            )
    for needed, name, find in (
        (not target.nats_url, "nats-server", nats_program),
        (not target.database_url, "PostgreSQL", lambda: postgres_program("postgres")),
    ):
        if needed:
            try:
                report.ok(f"{name} is installed: {find()}")
            except NotInstalled as error:
                report.problem(str(error), "Install the `parley` command again, or configure a server of your own.")
    return report


async def _processes(stack: State) -> Report:
    report = Report("stack")
    if not stack.ready:
        report.note("The stack is still starting.", "Run the check again in a moment.")
    for name, process in stack.processes.items():
        again = f" (restarted {process.restarts} times)" if process.restarts else ""
        if process.pid is None:
            report.problem(f"{name} is down{again}.", "The log of `parley up` has its last lines.")
            continue
        if process.health_port is None:
            continue
        status, body = await probe.get(process.health_port, "/readyz")
        if status == 200:
            report.ok(f"{name} is ready{again}.")
        elif status == 0:
            report.problem(
                f"{name} runs as process {process.pid} and does not respond{again}.",
                f"If this persists, kill it (kill {process.pid}): the stack restarts it. See the log.",
            )
        else:
            report.problem(
                f"{name} is not ready{again}: {' '.join(body.split())}", "See the checks below, and its log."
            )
    return report
