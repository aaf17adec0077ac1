"""Ending tasks in good order."""

import asyncio
from collections.abc import Awaitable

from parley.runtime.tasks import end


async def finish_even_if_cancelled(work: Awaitable[object], grace: float) -> None:
    """Await ``work``; a cancellation reaches it only after ``grace`` seconds, so that what is in hand gets done."""
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
            task.exception()  # seen: nobody asks for it any more
        raise
