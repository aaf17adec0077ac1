"""Waiting for a condition that nothing announces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def poll(condition: Callable[[], Awaitable[T]], *, timeout: float, every: float) -> T:
    """Return the first truthy result of ``condition``, which is awaited every ``every`` seconds.

    Raises:
        TimeoutError: ``timeout`` seconds passed without one.
    """
    deadline = time.monotonic() + timeout
    while not (result := await condition()):
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(every)
    return result


def poll_blocking(condition: Callable[[], T], *, timeout: float, every: float) -> T:
    """:func:`poll` for code without an event loop."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(every)
    return result
