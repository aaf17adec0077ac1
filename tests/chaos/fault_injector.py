"""Injects the planned faults."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from parley_cli.stack.process import SupervisedProcess
from tests.chaos.plan import FaultKind, InjectedFault, PlannedFault
from tests.chaos.proxy import Proxy

_NAMES = {"nats-server": "nats", "provider": "demo-model"}
"""Parts that have another name in the stack."""


class FaultInjector:
    """Injects faults into processes and links, and reverts those with a duration.

    Attributes:
        done: The faults that were injected so far.
    """

    def __init__(
        self,
        processes: Mapping[str, SupervisedProcess],
        proxies: Mapping[str, Proxy],
        on_progress: Callable[[str], None],
        leader: Callable[[], Awaitable[str | None]] | None = None,
    ) -> None:
        """Set the targets.

        Args:
            leader: Returns which of several nats-servers gets the faults.
        """
        self.done: list[InjectedFault] = []
        self._processes = processes
        self._proxies = proxies
        self._leader = leader
        self._on_progress = on_progress
        self._reverting: set[asyncio.Task[None]] = set()

    async def run(self, plan: Sequence[PlannedFault], seconds: float) -> None:
        """Inject each fault at its time; return after ``seconds``, when all are reverted."""
        started = time.monotonic()
        try:
            for planned in plan:
                await asyncio.sleep(planned.at - (time.monotonic() - started))
                await self._inject(planned)
            await asyncio.sleep(seconds - (time.monotonic() - started))
            if self._reverting:
                await asyncio.wait(self._reverting)
        finally:
            await self.revert()

    async def revert(self) -> None:
        """Revert now all faults that are not reverted yet."""
        for task in self._reverting:
            task.cancel()
        await asyncio.gather(*self._reverting, return_exceptions=True)

    def kills(self) -> Counter[str]:
        """SIGKILLs by part."""
        return Counter(done.planned.target for done in self.done if done.is_kill)

    def others(self) -> Counter[str]:
        """All other faults, by kind."""
        return Counter(done.planned.kind.value for done in self.done if not done.is_kill)

    # --- faults ------------------------------------------------------------------------------------------------------

    async def _inject(self, planned: PlannedFault) -> None:
        draw = random.Random(planned.draw)
        proxy = self._proxies.get(planned.target)
        target = (
            await self._disturb_process(planned, draw) if proxy is None else self._disturb_link(proxy, planned, draw)
        )
        if target is None:
            self._on_progress(f"{planned}: down already")
            return
        self.done.append(InjectedFault(time.time(), planned, target))
        self._on_progress(str(planned) + (f": {target}" if target != planned.target else ""))

    async def _disturb_process(self, planned: PlannedFault, draw: random.Random) -> str | None:
        service = _NAMES.get(planned.target, planned.target)
        leader = await self._leader() if service == "nats" and self._leader is not None else None
        running = [each for each in self._processes.values() if each.spec.service == service and each.pid]
        if not running:
            return None
        process = next((each for each in running if each.spec.name == leader), draw.choice(running))
        pid = process.pid
        assert pid is not None
        match planned.kind:
            case FaultKind.KILL:
                _signal(os.kill, pid, signal.SIGKILL)
            case FaultKind.RESTART:
                _signal(os.kill, pid, process.spec.stop_signal)
            case _:
                # All of its processes: PostgreSQL has many.
                _signal(os.killpg, pid, signal.SIGSTOP)
                self._later(planned.duration, lambda: _signal(os.killpg, pid, signal.SIGCONT))
        return process.spec.name

    def _disturb_link(self, proxy: Proxy, planned: PlannedFault, draw: random.Random) -> str:
        one = draw if planned.one else None
        match planned.kind:
            case FaultKind.RESET:
                proxy.reset(one)
            case FaultKind.CUT:
                proxy.refuse(on=True)
                self._later(planned.duration, lambda: proxy.refuse(on=False))
            case FaultKind.STALL:
                proxy.stall(on=True, draw=one)
                self._later(planned.duration, lambda: proxy.stall(on=False))
            case _:
                proxy.delay = planned.latency
                self._later(planned.duration, lambda: setattr(proxy, "delay", 0.0))
        return proxy.name

    def _later(self, seconds: float, revert: Callable[[], None]) -> None:
        async def wait() -> None:
            try:
                await asyncio.sleep(seconds)
            finally:
                revert()

        task = asyncio.create_task(wait())
        self._reverting.add(task)
        task.add_done_callback(self._reverting.discard)


def _signal(send: Callable[[int, int], None], pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        send(pid, number)
