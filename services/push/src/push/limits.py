"""How much one user, and one socket, may ask for."""

from __future__ import annotations

from push.errors import TooMany

__all__ = ["FrameRate", "SocketCount"]


class SocketCount:
    """Counts the open sockets of each user."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sockets: dict[str, int] = {}

    def add(self, user_id: str) -> None:
        """Raises :class:`TooMany` when the user has as many as allowed."""
        sockets = self._sockets.get(user_id, 0)
        if sockets >= self._limit:
            raise TooMany("too many sockets")
        self._sockets[user_id] = sockets + 1

    def remove(self, user_id: str) -> None:
        sockets = self._sockets[user_id] - 1
        if sockets:
            self._sockets[user_id] = sockets
        else:
            del self._sockets[user_id]


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
