"""Exponential backoff with jitter."""

import random


class Backoff:
    """Delays between retries: doubled after each, up to a limit, until :meth:`reset`.

    Jitter takes up to half of a delay away, so that clients that failed together do not retry together.

    Args:
        first: Upper bound of the first delay, in seconds.
        longest: Upper bound of every delay, in seconds.
    """

    __slots__ = ("_bound", "_first", "_longest")

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._bound = first

    def reset(self) -> None:
        """Start again at the first delay."""
        self._bound = self._first

    def next_delay(self) -> float:
        """Return the seconds to wait before the next retry."""
        bound, self._bound = self._bound, min(self._bound * 2, self._longest)
        return bound * random.uniform(0.5, 1.0)
