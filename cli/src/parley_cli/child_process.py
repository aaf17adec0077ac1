"""Child processes: how the command, the benchmarks and the tests start, signal and stop them.

Each has a session of its own, so that Ctrl-C in a terminal reaches the parent alone, and no standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeAlias

Output: TypeAlias = int | IO[bytes]
"""``subprocess.PIPE``, ``DEVNULL``, a file or a file descriptor; standard error goes to the same place."""

_INHERITED = (
    *("PATH", "PYTHONPATH", "VIRTUAL_ENV", "HOME", "TMPDIR", "LANG", "LC_ALL", "SYSTEMROOT"),
    "COVERAGE_PROCESS_START",
)


def base_environment() -> dict[str, str]:
    """Return the variables of this process that are not Parley's: no settings, addresses or keys."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def start(
    command: Sequence[str], *, output: Output, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process, for code without an event loop. The environment is by default that of this process."""
    return subprocess.Popen(
        command,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


async def start_async(
    command: Sequence[str],
    *,
    output: Output,
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stderr: int = subprocess.STDOUT,
    limit: int = 2**16,
) -> asyncio.subprocess.Process:
    """Start a process that the event loop waits for; ``limit`` is the longest line that can be read of it."""
    return await asyncio.create_subprocess_exec(
        *command,
        env=None if environment is None else dict(environment),
        stdin=stdin,
        stdout=output,
        stderr=stderr,
        limit=limit,
        start_new_session=True,
    )


def send_signal(process: asyncio.subprocess.Process, number: int) -> None:
    """Send a signal, unless the process has ended.

    The methods of ``process`` poll its exit status first. When it ends in that moment they take the status away from
    the event loop, which then logs "Unknown child process" and reports 255.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def stop(process: asyncio.subprocess.Process, *, timeout: float, number: int = signal.SIGTERM) -> bool:
    """Send ``number`` and wait; kill the process after ``timeout`` seconds. Return whether it ended by itself."""
    send_signal(process, number)
    try:
        async with asyncio.timeout(timeout):
            await process.wait()
        return True
    except TimeoutError:
        await kill(process)
        return False


async def kill(process: asyncio.subprocess.Process) -> None:
    """Send SIGKILL to the process and its children, and wait for its end."""
    if process.returncode is None:
        kill_group(process.pid)
    await process.wait()


def kill_group(pid: int) -> None:
    """Send SIGKILL to whatever is left of the process and its children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process whose output is appended to ``log`` while the context is open."""
    with log.open("ab") as output:
        process = await start_async(command, output=output, environment=environment)
    try:
        yield process
    finally:
        await stop(process, timeout=10.0)
