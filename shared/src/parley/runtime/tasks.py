"""Tasks that end for certain, and tasks with an owner who ends them."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

_PATIENCE: Final = 1.0


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel ``tasks`` and return when all have ended, however they end.

    One cancellation is not enough: until Python 3.12 ``asyncio.wait_for``, which the NATS client waits with, swallows
    one that comes in the moment of the result (CPython issue 86296), and a task that loops goes on for ever. So it is
    cancelled again each second.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_PATIENCE)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of ``work``, or None when ``stop`` is set before it is there; then ``work`` is ended."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        await end(working, stopping)


class Tasks:
    """Tasks of one owner. Unlike in a TaskGroup, one task's failure is logged and ends only that task."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Cancel all and wait for them."""
        await end(*self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A task failed", exc_info=error)
