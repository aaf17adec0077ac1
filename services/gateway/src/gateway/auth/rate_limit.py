"""A rate limiter: the generic cell rate algorithm (ITU-T I.371), one number per key. No I/O."""

import time

from gateway.errors import TooMany
from gateway.metrics import RATE_LIMITED

_SWEEP_EVERY = 4096


class RateLimiter:
    """Admits ``burst`` at once and ``per_second`` on average, for each key.

    A key that was not used for as long as its burst takes to refill is removed, so memory follows the active keys.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second if per_second > 0 else 0.0
        self._tolerance = self._interval * (burst - 1)
        # When the next one would be due if the key had kept to the average ("theoretical arrival time").
        self._due: dict[str, float] = {}
        self._admitted = 0

    def __len__(self) -> int:
        return len(self._due)

    def require(self, key: str, limit: str, detail: str, *, code: str | None = None) -> None:
        """Count one. Raises TooMany, counted by the metric under ``limit``."""
        wait = self.admit(key, time.monotonic())
        if wait:
            RATE_LIMITED.labels(limit).inc()
            raise TooMany(detail, code=code, retry_after=wait)

    def admit(self, key: str, now: float) -> float:
        """Count one and return 0.0, or return the seconds to wait (and count nothing)."""
        if not self._interval:
            return 0.0
        due = max(self._due.get(key, now), now)
        wait = due - self._tolerance - now
        # A rounding error of the clock is no reason to refuse.
        if wait > 1e-9:
            return wait
        self._due[key] = due + self._interval
        self._admitted += 1
        if self._admitted % _SWEEP_EVERY == 0:
            self._due = {key: due for key, due in self._due.items() if due > now}
        return 0.0
