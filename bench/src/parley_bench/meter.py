"""The CPU time and the memory of processes."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psutil


class CpuMeter:
    """Measures processes, their children included, while the context is open.

    Attributes:
        cpu: CPU seconds by the name of the process.
        busy: The used share of the whole machine.
        elapsed: Seconds.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self.cpu: dict[str, float] = {}
        self.busy = 0.0
        self.elapsed = 0.0

    def __enter__(self) -> CpuMeter:
        self.cpu = self._read()
        self._machine = _machine()
        self._started = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.elapsed = time.monotonic() - self._started
        self.cpu = {name: now - self.cpu[name] for name, now in self._read().items()}
        total, idle = (now - before for now, before in zip(_machine(), self._machine, strict=True))
        self.busy = 1 - idle / total if total else 0.0

    def _read(self) -> dict[str, float]:
        return {name: _cpu(process) for name, process in self._processes.items()}


def _cpu(process: psutil.Process) -> float:
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _machine() -> tuple[float, float]:
    times = psutil.cpu_times()
    return sum(times[:8]), times.idle + getattr(times, "iowait", 0.0)


def resident(pid: int) -> int:
    """Return the bytes of memory that are the process's alone."""
    return int(psutil.Process(pid).memory_full_info().uss)
