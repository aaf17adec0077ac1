"""The load of the machine, which may explain a stall."""

from __future__ import annotations

import asyncio
import os
import time

_EVERY = 1.0


class LoadMonitor:
    """Records the load average (of the last minute) each second; an asynchronous context manager.

    Attributes:
        samples: (Unix seconds, load average), in order of time.
    """

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._sampling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LoadMonitor:
        self._sampling = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._sampling is not None
        self._sampling.cancel()
        await asyncio.gather(self._sampling, return_exceptions=True)

    def most(self, begin: float, end: float) -> float | None:
        """The highest load average between two moments; None without a sample."""
        return max((load for at, load in self.samples if begin - _EVERY <= at <= end + _EVERY), default=None)

    async def _sample(self) -> None:
        while True:
            self.samples.append((time.time(), os.getloadavg()[0]))
            await asyncio.sleep(_EVERY)
