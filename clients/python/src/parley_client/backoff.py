"""Delays between attempts."""

import random
from collections.abc import Callable


class Backoff:
    """Exponential backoff with full jitter: each delay is drawn evenly from zero to a bound that doubles."""

    def __init__(self, base: float = 0.25, cap: float = 10.0, draw: Callable[[], float] = random.random) -> None:
        self._base = base
        self._cap = cap
        self._draw = draw
        self.failures = 0

    def next(self) -> float:
        """Return the next delay in seconds and raise the bound."""
        bound = min(self._cap, self._base * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return self._draw() * bound

    def reset(self) -> None:
        self.failures = 0
