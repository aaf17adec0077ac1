"""Limits of users, addresses and sockets, and of the open files of the process."""

import logging
import resource
from collections import Counter
from typing import Final

from push.errors import TooMany

log = logging.getLogger(__name__)

_OTHER_FILES: Final = 300
"""Open files that are no sockets of readers: NATS, the health server, and connections that are only refused."""


def sockets_that_fit(wanted: int) -> int:
    """Let the process open the files for ``wanted`` sockets, as far as the system does; return for how many.

    Beyond that the kernel refuses connections, and NATS' own with them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    fitting = max(1, soft - _OTHER_FILES)
    log.warning("Taking %d sockets and not MAX_SOCKETS: the system allows no more open files", fitting)
    return fitting


class Count:
    """Counts things by their owner.

    Args:
        limit: How many one owner may have.
        what: What they are, for the message of a refusal.
    """

    def __init__(self, limit: int, what: str) -> None:
        self.limit = limit
        self._what = what
        self._counts: Counter[str] = Counter()

    def of(self, owner: str) -> int:
        return self._counts[owner]

    def add(self, owner: str) -> None:
        """Raises :class:`TooMany` when the owner has as many as allowed."""
        if self._counts[owner] >= self.limit:
            raise TooMany(f"too many {self._what}")
        self._counts[owner] += 1

    def remove(self, owner: str) -> None:
        """Take one back; an owner with none left is forgotten."""
        self._counts[owner] -= 1
        if not self._counts[owner]:
            del self._counts[owner]


class FrameRate:
    """A token bucket: ``burst`` frames at once, ``per_second`` in the long run."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, per_second: float, burst: int, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._at = now

    def take(self, now: float) -> None:
        """Raises :class:`TooMany` when there are none left."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            raise TooMany("too many frames")
        self._left -= 1
