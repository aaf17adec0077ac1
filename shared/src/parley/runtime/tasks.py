"""Ending tasks for certain."""

import asyncio
from typing import Any, Final

_PATIENCE: Final = 1.0


async def end(*tasks: asyncio.Task[Any]) -> None:
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
