"""A timer wheel: one timer of the event loop per millisecond in which anything is due."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

_TICK = 0.001


class Wheel:
    """Calls functions at times; hundreds of streams cost as many timers as there are busy milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, list[Callable[[], None]]] = {}

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call ``call`` at the first tick not before ``time``, in the event loop's seconds."""
        slot = math.ceil(time / _TICK)
        calls = self._slots.get(slot)
        if calls is None:
            self._slots[slot] = [call]
            self._loop.call_at(slot * _TICK, self._turn, slot)
        else:
            calls.append(call)

    def _turn(self, slot: int) -> None:
        for call in self._slots.pop(slot):
            call()
