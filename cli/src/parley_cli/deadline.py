"""The deadline of a command."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from parley.runtime.tasks import end

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, which is cancelled after ``seconds``.

    Not ``asyncio.timeout``, which cancels once, and ``work`` can swallow that (see :func:`parley.runtime.tasks.end`).

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
    """The deadline passed before the result."""
