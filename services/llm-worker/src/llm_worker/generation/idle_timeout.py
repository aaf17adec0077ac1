"""Noticing that nothing comes any more."""

import asyncio
import time
from types import TracebackType
from typing import Final

from llm_worker.generation.cancel_scope import Interruption

_STOOD_STILL: Final = 1.0
"""Seconds of lateness from which on it is not a busy loop."""


class Watchdog:
    """``async with watchdog:`` ends its body when ``touch`` was not called for ``limit`` seconds; then ``bit`` is true.

    ``touch`` is on the path of every token, so it only notes the time; the one timer looks when it might be due. When
    it comes much too late, this process stood still and has not looked at what came meanwhile: the time begins anew.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._interruption = Interruption()
        self._touched = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @property
    def bit(self) -> bool:
        return self._interruption.happened

    def touch(self, now: float) -> None:
        """Something came, at ``now`` by ``time.monotonic()``."""
        self._touched = now

    def expect(self, limit: float) -> None:
        """From now on something must come within ``limit`` seconds."""
        self.limit = limit
        self._touched = self._due = time.monotonic()
        self._look()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        if now > self._due + _STOOD_STILL:
            self._touched = now
        left = self._touched + self.limit - now
        if left <= 0:
            self._interruption.interrupt()
        else:
            # A little more than what is left, for the loop's clock is coarser than ours.
            self._due = now + left + 0.002
            self._timer = asyncio.get_running_loop().call_later(left + 0.002, self._look)

    async def __aenter__(self) -> "Watchdog":
        await self._interruption.__aenter__()
        self._touched = self._due = time.monotonic()
        self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._timer is not None:
            self._timer.cancel()
        return await self._interruption.__aexit__(kind, error, trace)
