"""Scopes that end a part of a task from outside, and not the task."""

import asyncio
import time
from types import TracebackType
from typing import Final

_SUSPENDED: Final = 1.0
"""Seconds of a timer's lateness that mean a suspended process and not a busy event loop."""


class CancelScope:
    """``async with scope:`` ends its body when :meth:`cancel` is called.

    May be entered again. After :meth:`cancel`, each body ends at its first wait.

    Attributes:
        cancelled: :meth:`cancel` was called.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self._timeout: asyncio.Timeout | None = None

    def cancel(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            if self._timeout is not None:
                self._timeout.reschedule(0.0)

    async def __aenter__(self) -> "CancelScope":
        # A timeout at a time in the past distinguishes its own cancellation from that of the whole task.
        self._timeout = asyncio.timeout_at(0.0 if self.cancelled else None)
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        timeout, self._timeout = self._timeout, None
        assert timeout is not None
        try:
            await timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            return True
        return False


class IdleTimeout:
    """``async with timeout:`` ends its body when :meth:`reset` was not called for ``limit`` seconds.

    :meth:`reset` is on the token path, so it only stores the time; one timer checks when the timeout may be due. A
    timer that fires much too late means that this process was suspended and has not read what arrived meanwhile: the
    time starts again.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._scope = CancelScope()
        self._reset_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @property
    def expired(self) -> bool:
        return self._scope.cancelled

    def reset(self, now: float) -> None:
        """Start again at ``now``, by ``time.monotonic()``."""
        self._reset_at = now

    def set_limit(self, limit: float) -> None:
        """Start again now, with another limit."""
        self.limit = limit
        self._reset_at = self._due = time.monotonic()
        self._check()

    def _check(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        if now > self._due + _SUSPENDED:
            self._reset_at = now
        remaining = self._reset_at + self.limit - now
        if remaining <= 0:
            self._scope.cancel()
        else:
            # A little later than due: the event loop's clock is coarser.
            self._due = now + remaining + 0.002
            self._timer = asyncio.get_running_loop().call_later(remaining + 0.002, self._check)

    async def __aenter__(self) -> "IdleTimeout":
        await self._scope.__aenter__()
        self.set_limit(self.limit)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._timer is not None:
            self._timer.cancel()
        return await self._scope.__aexit__(kind, error, trace)
