"""The deadline of a command."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from parley.runtime.tasks import end

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``; end it when it takes longer.

    Not ``asyncio.timeout``, which cancels once: ``work`` can lose that (see :func:`parley.runtime.tasks.end`).

    Raises:
        DeadlinePassed
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
    finally:
        await end(task)
    raise DeadlinePassed


class DeadlinePassed(Exception):
    """It was not done in time."""
