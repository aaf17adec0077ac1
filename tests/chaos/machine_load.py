"""The load of the machine, which may explain a stall."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from parley.runtime import tasks

_EVERY = 1.0

Sample = tuple[float, float]
"""Unix seconds, and the load average of the last minute."""


@asynccontextmanager
async def recorded_load() -> AsyncIterator[list[Sample]]:
    """Record the load each second, in order of time, while the context is open."""
    samples: list[Sample] = []

    async def record() -> None:
        while True:
            samples.append((time.time(), os.getloadavg()[0]))
            await asyncio.sleep(_EVERY)

    recording = asyncio.create_task(record())
    try:
        yield samples
    finally:
        await tasks.end(recording)


def highest_load(samples: Sequence[Sample], begin: float, end: float) -> float | None:
    """Return the highest load average between two moments; None without a sample."""
    return max((load for at, load in samples if begin - _EVERY <= at <= end + _EVERY), default=None)
