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
    """Seconds to wait after ``tries`` failures: exponential with full jitter, so that those who failed together do not
    come back together.

    Args:
        at_least: What the other side asked for (``Retry-After``); the jitter comes on top, a tenth of it.
    """
    jittered = rand(0.0, min(longest, first * 2.0 ** min(tries - 1, 16)))
    if at_least is None:
        return jittered
    return at_least + min(jittered, at_least * 0.1)
