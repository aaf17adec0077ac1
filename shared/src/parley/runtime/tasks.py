"""Tasks: an owner who ends them, cancellation for certain, and work that outlasts a cancellation."""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

_CANCEL_INTERVAL: Final = 1.0


async def keep_cancellation(work: Awaitable[T]) -> T:
    """Await ``work`` of a library that may lose a cancellation of the current task, and raise the one that it has lost.

    Until Python 3.12 ``asyncio.wait_for`` returns a result that comes in the moment of a cancellation (CPython issue
    86296). The task would go on as if nobody had cancelled it; in a TaskGroup, for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        return await work
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


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
        _, running = await asyncio.wait(running, timeout=_CANCEL_INTERVAL)


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


async def finish_despite_cancellation(work: Awaitable[object], grace: float) -> None:
    """Await ``work``; a cancellation reaches it only after ``grace`` seconds, so that it can finish."""
    task = asyncio.ensure_future(work)
    try:
        # Not `shield`: since Python 3.14 it logs what a task raises after its waiter was cancelled.
        await asyncio.wait([task])
        task.result()
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task], timeout=grace)
        await end(task)
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio logs it as never retrieved
        raise
