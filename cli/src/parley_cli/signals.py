"""Signals to processes that the event loop waits for."""

from __future__ import annotations

import asyncio
import contextlib
import os


def send(process: asyncio.subprocess.Process, number: int) -> None:
    """Send a signal, unless the process has ended.

    The methods of ``process`` look for its exit status first. When it ends in that moment they take the status away
    from the event loop, which then logs "Unknown child process" and reports 255.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
