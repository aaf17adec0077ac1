"""Servers of a benchmark that are not part of the stack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from parley_bench.scenario import NoMeasurement, until
from parley_cli import child_process
from parley_cli.embedded.guard import guarded
from parley_cli.embedded.ports import is_free

_START_TIMEOUT = 60.0


@asynccontextmanager
async def child(
    command: list[str], *, log: Path, environment: Mapping[str, str], port: int | None = None
) -> AsyncIterator[int]:
    """Run a program, and yield its process id once it listens on ``port``.

    Raises:
        NoMeasurement: It ended, or does not listen.
    """
    async with child_process.running(guarded(command), log=log, environment=environment) as process:
        if port is not None:
            await _wait_until_listening(process, port, command, log)
        yield process.pid


async def _wait_until_listening(process: asyncio.subprocess.Process, port: int, command: list[str], log: Path) -> None:
    async def listens() -> bool:
        if process.returncode is not None:
            raise NoMeasurement(f"{command[0]} ended with {process.returncode}:\n{_last_lines(log)}")
        return not is_free(port)

    await until(listens, _START_TIMEOUT, f"{' '.join(command)} listens on port {port}")


def _last_lines(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
