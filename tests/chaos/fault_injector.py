"""Carries out the plan."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from parley_cli.stack.process import SupervisedProcess
from tests.chaos.invariants import Fault
from tests.chaos.plan import Deed, Disruption
from tests.chaos.proxy import Proxy

_NAMES = {"nats-server": "nats", "provider": "demo-model"}
"""Parts that the stack calls otherwise."""


@dataclass(frozen=True)
class Done:
    """What was done: when (Unix seconds), what, to which process or link."""

    at: float
    disruption: Disruption
    to: str


class Saboteur:
    """Breaks processes and links by the plan, and undoes what can be undone.

    Attributes:
        done: All that was done so far.
    """

    def __init__(
        self,
        processes: Mapping[str, SupervisedProcess],
        proxies: Mapping[str, Proxy],
        tell: Callable[[str], None],
        favourite: Callable[[], Awaitable[str | None]] | None = None,
    ) -> None:
        """Describe the victims.

        Args:
            favourite: Of several nats-servers, the name of the one to strike.
        """
        self.done: list[Done] = []
        self._processes = processes
        self._proxies = proxies
        self._favourite = favourite
        self._tell = tell
        self._undoing: set[asyncio.Task[None]] = set()

    async def run(self, plan: Sequence[Disruption], seconds: float) -> None:
        """Do everything at its time; return after ``seconds``, when all is undone."""
        started = time.monotonic()
        try:
            for disruption in plan:
                await asyncio.sleep(disruption.at - (time.monotonic() - started))
                await self._do(disruption)
            await asyncio.sleep(seconds - (time.monotonic() - started))
            if self._undoing:
                await asyncio.wait(self._undoing)
        finally:
            await self.undo()

    async def undo(self) -> None:
        """Undo at once what is not undone yet."""
        for task in self._undoing:
            task.cancel()
        await asyncio.gather(*self._undoing, return_exceptions=True)

    def faults(self) -> list[Fault]:
        """All that was done, as the checks need it."""
        return [
            Fault(
                at=done.at,
                target=done.disruption.target,
                duration=done.disruption.duration,
                kill=done.disruption.deed is Deed.KILL,
            )
            for done in self.done
        ]

    def kills(self) -> Counter[str]:
        """SIGKILLs by part."""
        return Counter(done.disruption.target for done in self.done if done.disruption.deed is Deed.KILL)

    def others(self) -> Counter[str]:
        """All but the kills, by deed."""
        return Counter(done.disruption.deed.value for done in self.done if done.disruption.deed is not Deed.KILL)

    # --- deeds -------------------------------------------------------------------------------------------------------

    async def _do(self, disruption: Disruption) -> None:
        draw = random.Random(disruption.draw)
        proxy = self._proxies.get(disruption.target)
        to = await self._strike(disruption, draw) if proxy is None else self._disturb(proxy, disruption, draw)
        if to is None:
            self._tell(f"{disruption}: down already")
            return
        self.done.append(Done(time.time(), disruption, to))
        self._tell(str(disruption) + (f": {to}" if to != disruption.target else ""))

    async def _strike(self, disruption: Disruption, draw: random.Random) -> str | None:
        service = _NAMES.get(disruption.target, disruption.target)
        favourite = await self._favourite() if service == "nats" and self._favourite is not None else None
        running = [each for each in self._processes.values() if each.spec.service == service and each.pid]
        if not running:
            return None
        process = next((each for each in running if each.spec.name == favourite), draw.choice(running))
        match disruption.deed:
            case Deed.KILL:
                self._signal(process, signal.SIGKILL)
            case Deed.RESTART:
                self._signal(process, process.spec.stop_signal)
            case _:
                pid = process.pid
                assert pid is not None
                # All of its processes: PostgreSQL has many.
                _signal_group(pid, signal.SIGSTOP)
                self._later(disruption.duration, lambda: _signal_group(pid, signal.SIGCONT))
        return process.spec.name

    def _disturb(self, proxy: Proxy, disruption: Disruption, draw: random.Random) -> str:
        one = draw if disruption.one else None
        match disruption.deed:
            case Deed.RESET:
                proxy.reset(one)
            case Deed.CUT:
                proxy.refuse(on=True)
                self._later(disruption.duration, lambda: proxy.refuse(on=False))
            case Deed.STALL:
                proxy.stall(on=True, draw=one)
                self._later(disruption.duration, lambda: proxy.stall(on=False))
            case _:
                proxy.delay = disruption.lateness
                self._later(disruption.duration, lambda: setattr(proxy, "delay", 0.0))
        return proxy.name

    @staticmethod
    def _signal(process: SupervisedProcess, number: signal.Signals) -> None:
        assert process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)

    def _later(self, seconds: float, undo: Callable[[], None]) -> None:
        async def wait() -> None:
            try:
                await asyncio.sleep(seconds)
            finally:
                undo()

        task = asyncio.create_task(wait())
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
