"""Servers of a benchmark that are not part of the stack."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from parley_bench.scenario import NoMeasurement
from parley_cli import signals
from parley_cli.embedded.guard import guarded

_STARTING = 60.0
_ENDING = 10.0


@asynccontextmanager
async def child(
    command: list[str], *, log: Path, environment: Mapping[str, str], port: int | None = None
) -> AsyncIterator[int]:
    """Run a program; its process id, once it listens on ``port``.

    Raises:
        NoMeasurement: It ended, or does not listen.
    """
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *guarded(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        if port is not None:
            await _listens(process, port, command, log)
        yield process.pid
    finally:
        if process.returncode is None:
            signals.send(process, signal.SIGTERM)
            try:
                async with asyncio.timeout(_ENDING):
                    await process.wait()
            except TimeoutError:
                signals.send(process, signal.SIGKILL)
                await process.wait()


async def _listens(process: asyncio.subprocess.Process, port: int, command: list[str], log: Path) -> None:
    try:
        async with asyncio.timeout(_STARTING):
            while True:
                if process.returncode is not None:
                    raise NoMeasurement(f"{command[0]} ended with {process.returncode}:\n{_last_words(log)}")
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                return
    except TimeoutError:
        raise NoMeasurement(f"{' '.join(command)} does not listen on port {port}") from None


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
