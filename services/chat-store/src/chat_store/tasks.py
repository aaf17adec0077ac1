"""Ending tasks in good order."""

import asyncio
import contextlib
from collections.abc import Awaitable


async def finish_even_if_cancelled(work: Awaitable[None], grace: float) -> None:
    """Await ``work``; a cancellation reaches it only after ``grace`` seconds, so that what is in hand gets done.

    It also makes the cancellation certain: ``asyncio.wait_for``, which nats-py waits with, swallows one that comes at
    the moment of the result (CPython issue 86296, until 3.12).
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task], timeout=grace)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
        raise
