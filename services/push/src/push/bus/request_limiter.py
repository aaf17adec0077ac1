"""The way of all rooms' requests: so many at once, and patience while chat-store is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from push.metrics import REQUESTS

__all__ = ["Gate", "Pace"]

log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

T = TypeVar("T")


class Pace:
    """Pauses between tries: doubled each time, with jitter, until something succeeds."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE

    def reset(self) -> None:
        self._next = _FIRST_PAUSE

    def pause(self) -> float:
        """Return the seconds to wait now."""
        pause, self._next = self._next, min(self._next * 2, _LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1.0)


class Gate:
    """Lets through at most ``limit`` requests at once."""

    def __init__(self, limit: int) -> None:
        self._limit = asyncio.Semaphore(limit)
        self._away = False
        self._news = asyncio.Event()

    async def ask_store(self, name: str, request: Callable[[], Awaitable[T]]) -> T:
        """Make a request to chat-store.

        Raises:
            RpcRefused, BusUnavailable: as the request itself.
        """
        try:
            reply = await self._ask(name, request)
        except RpcRefused:
            self._answered()
            raise
        except BusUnavailable as error:
            if not self._away:
                self._away = True
                log.warning("chat-store does not answer; readers keep what they have: %s", error)
            raise
        self._answered()
        return reply

    async def ask_worker(self, name: str, request: Callable[[], Awaitable[T]]) -> T:
        """Make a request to the worker of an answer.

        Raises:
            RpcRefused, BusUnavailable: as the request itself.
        """
        return await self._ask(name, request)

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until it makes sense to try again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def end_pauses(self) -> None:
        """What was away is back."""
        self._news.set()
        self._news = asyncio.Event()

    async def _ask(self, name: str, request: Callable[[], Awaitable[T]]) -> T:
        outcome = "cancelled"
        try:
            async with self._limit:
                reply = await request()
            outcome = "ok"
            return reply
        except RpcRefused as refusal:
            outcome = refusal.code
            raise
        except BusUnavailable:
            outcome = "unavailable"
            raise
        finally:
            REQUESTS.labels(name, outcome).inc()

    def _answered(self) -> None:
        if self._away:
            self._away = False
            log.info("chat-store answers again")
            self.end_pauses()
