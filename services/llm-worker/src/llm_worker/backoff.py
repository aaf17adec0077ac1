"""How long to wait before trying again. No I/O."""

import random
from collections.abc import Callable
from typing import Final

FIRST: Final = 0.5
LONGEST: Final = 20.0


def delay(
    tries: int,
    *,
    at_least: float | None = None,
    first: float = FIRST,
    longest: float = LONGEST,
    rand: Callable[[float, float], float] = random.uniform,
) -> float:
    """Seconds to wait after ``tries`` failures: exponential, the upper half of it at random, so that those who failed
    together do not come back together, and nobody comes back at once.

    Args:
        at_least: What the other side asked for (``Retry-After``): never less; a tenth of it more, at random.
    """
    top = min(longest, first * 2.0 ** min(tries - 1, 16))
    own = rand(top / 2, top)
    if at_least is None:
        return own
    return max(own, at_least + rand(0.0, min(top, at_least * 0.1)))
