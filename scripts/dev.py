"""The stack with reload on change, which ``make dev`` runs: services restart, Vite updates the page, data stays."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import watchfiles
from scripts.build_web import ROOT, WEB, Npm

from parley_cli.embedded.errors import EmbeddedError
from parley_cli.embedded.folder import DEFAULT_FOLDER
from parley_cli.embedded.guard import guarded
from parley_cli.stack.command import run_stack
from parley_cli.stack.errors import StackError
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.options import SERVICES, StackOptions
from parley_cli.stack.process import ProcessSpec
from parley_cli.stack.stack import Stack

_RESTART_DELAYS = (0.5, 2.0)
"""Short: a service that a change broke is started again soon after it is repaired."""


async def develop(stack: Stack, log: CombinedLog) -> None:
    """Start Vite, and restart services whose sources change, until cancelled."""
    await stack.start_process(_vite(stack))
    await _reload(stack, log)


async def _reload(stack: Stack, log: CombinedLog) -> None:
    folders = [ROOT / "shared" / "src", *(ROOT / "services" / service / "src" for service in SERVICES)]
    only = watchfiles.PythonFilter(extra_extensions=[".sql"])
    async for changes in watchfiles.awatch(*folders, watch_filter=only):
        services = affected_services(Path(path) for _, path in changes)
        log.line("reload", ", ".join(services))
        try:
            await stack.migrate()
        except StackError as error:
            log.line("reload", str(error))
        processes = [each for each in stack.processes.values() if each.spec.service in services]
        await asyncio.gather(*(process.restart() for process in processes))


def affected_services(paths: Iterable[Path]) -> list[str]:
    """Return the services that use the changed files: all of them for one in ``shared``."""
    parts = {path.relative_to(ROOT).parts for path in paths}
    return [service for service in SERVICES if any(part[0] == "shared" or part[1] == service for part in parts)]


def _vite(stack: Stack) -> ProcessSpec:
    npm = Npm()

    async def ready() -> bool:
        return True  # it logs its address

    return ProcessSpec(
        name="vite",
        service="vite",
        command=lambda: guarded(["/usr/bin/env", *npm.command, "run", "dev", "--workspace", "web"]),
        ready=ready,
        environment=npm.environment | {"GATEWAY_URL": stack.url, "PUSH_URL": stack.push_url},
        stop_seconds=2.0,
    )


def options_of(arguments: Sequence[str]) -> StackOptions:
    """Return what `make dev ARGS="…"` runs."""
    parser = argparse.ArgumentParser(prog="make dev ARGS=…", description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the data")
    parser.add_argument("--port", type=int, default=8000, help="of the gateway; Vite logs its own")
    parser.add_argument("--push-port", type=int, default=8001)
    given = parser.parse_args(arguments)
    return StackOptions(
        folder=given.data.absolute(),
        inherited=os.environ,
        web_dist=WEB / "dist",
        restart_delays=_RESTART_DELAYS,
        port=given.port,
        push_port=given.push_port,
    )


def main() -> int:
    """Run until a signal; return the exit code."""
    options = options_of(sys.argv[1:])
    try:
        return asyncio.run(run_stack(options, develop))
    except (StackError, EmbeddedError) as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
