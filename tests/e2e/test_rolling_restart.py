"""A new version rolls out: every process of every service is restarted, one at a time, while people talk."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from parley.runtime.tasks import end
from parley_cli.child_process import base_environment
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.options import StackOptions
from parley_cli.stack.process import SupervisedProcess
from parley_cli.stack.stack import Stack
from tests.chaos.invariants import check
from tests.chaos.quiescence import wait_for_quiescence
from tests.chaos.reader import Reader
from tests.chaos.workload import Workload
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

ORDER = ("chat-store", "llm-worker", "push", "gateway")
"""As docs/operations.md says to roll out."""
REPLICAS = 3
LONGEST_WAIT = 10.0
"""Seconds without new text that a reader may have to bear (the machine may be busy)."""


class StallMonitor:
    """Measures for how long readers get no text.

    Attributes:
        behind: The longest time in which a reader got nothing while another reader of its chat did.
        still: The longest time in which no reader of a chat with a running answer got anything.
    """

    def __init__(self, readers: list[Reader]) -> None:
        self.behind = self.still = 0.0
        self._chats: dict[str, list[Reader]] = defaultdict(list)
        for reader in readers:
            self._chats[reader.chat_id].append(reader)
        self._seen: dict[Reader, object] = {}
        self._moved: dict[Reader, float] = {}

    async def run(self) -> None:
        while True:
            now = time.monotonic()
            for readers in self._chats.values():
                for reader in readers:
                    self._look(reader, now)
                newest = max(self._moved[reader] for reader in readers)
                self.behind = max(self.behind, *(newest - self._moved[reader] for reader in readers))
                if any(reader.watch.state.generation is not None for reader in readers):
                    self.still = max(self.still, now - newest)
            await asyncio.sleep(0.1)

    def _look(self, reader: Reader, now: float) -> None:
        state = reader.watch.state
        answer = state.generation
        seen = (
            state.version,
            None if answer is None else (answer.generation_id, answer.attempt, len(answer.text), len(answer.reasoning)),
        )
        if self._seen.get(reader) != seen:
            self._seen[reader] = seen
            self._moved[reader] = now


async def _restart(process: SupervisedProcess) -> None:
    """SIGTERM; return when the process that follows is ready."""
    before = process.pid
    assert before is not None
    os.kill(before, process.spec.stop_signal)

    async def ready() -> bool:
        return process.pid not in (None, before) and await process.spec.ready()

    await eventually(ready, deadline=60, what=f"{process.spec.name} being back")


async def test_a_rolling_restart_of_everything_loses_nothing_and_leaves_no_socket_without_text(tmp_path: Path) -> None:
    log_path = tmp_path / "stack.log"
    options = StackOptions(
        folder=tmp_path,
        port=0,
        push_port=0,
        replicas=dict.fromkeys(ORDER, REPLICAS),
        inherited=base_environment(),
        # Shorter than any answer: what runs is handed over, what is open is moved.
        environment={"llm-worker": {"SHUTDOWN_GRACE": "0.5"}, "push": {"DRAIN_SECONDS": "1"}},
        restart_delays=(0.1, 1.0),
    )
    async with AsyncExitStack() as running:
        log_file = running.enter_context(log_path.open("w"))
        stack = await running.enter_async_context(Stack(options, CombinedLog(log_file, colour=False)))
        workload = await running.enter_async_context(Workload(stack.url, users=5, seed=6))
        monitor = StallMonitor(workload.readers)
        watching = asyncio.create_task(monitor.run())
        running.push_async_callback(end, watching)
        workload.start()
        for service in ORDER:
            for process in [each for each in stack.processes.values() if each.spec.service == service]:
                await _restart(process)
        restarts = {each.spec.name: each.restarts for each in stack.processes.values() if each.spec.service in ORDER}
        stored = await wait_for_quiescence(workload, stack.database_url, print)
        if watching.done():
            watching.result()
        findings = check(
            workload.history, stored, workload.readings(), faults=(), progress=workload.progress, now=time.time()
        )
        observations = {reader.name: len(reader.observations) for reader in workload.readers}
        print(
            f"{len(workload.history.accepted)} messages, {findings.takeovers} takeovers, {findings.observed} observed"
        )
        print(f"at most {monitor.behind:.1f} s behind the other readers, {monitor.still:.1f} s of silence")

    assert restarts == {f"{service}-{number}": 1 for service in ORDER for number in range(1, REPLICAS + 1)}
    assert len(workload.history.accepted) > 0
    assert workload.unsent == 0
    assert workload.history.refusals == []
    assert findings.lost == []
    assert findings.duplicated == []
    assert findings.clean, findings
    assert all(observations.values()), observations
    assert monitor.behind < LONGEST_WAIT
    assert monitor.still < LONGEST_WAIT
    assert "Traceback (most recent call last)" not in log_path.read_text(errors="replace")
