"""Child processes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

from parley_cli import child_process

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


async def test_the_exit_status_is_left_to_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    process = await asyncio.create_subprocess_exec(*SLEEPER, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    asked: list[object] = []
    monkeypatch.setattr(subprocess.Popen, "poll", asked.append)
    child_process.send_signal(process, signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM
    assert not asked


async def test_a_process_that_has_ended_gets_no_signal() -> None:
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    child_process.send_signal(process, signal.SIGKILL)
