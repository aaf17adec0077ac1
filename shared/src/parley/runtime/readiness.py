"""Whether a process can do its part, as ``/readyz`` and the log say it.

What the process needs is asked in the background: a probe costs nothing, waits for nothing and cannot fail, and an
outage is in the log, in one sentence, whether or not anybody probes.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str | None]]
"""Returns a sentence about what is missing and what to do; None when nothing is."""

EVERY: Final = 2.0
"""Seconds between two looks while all is well."""

TIMEOUT: Final = 3.0
"""Seconds for one look at one dependency."""

_SOON: Final = 0.2
_LATER: Final = 1.0


class OutageLog:
    """Something that may be away: each sentence about one outage is logged once, its end once.

    Args:
        over: What to log at the end.
    """

    def __init__(self, logger: logging.Logger, over: str) -> None:
        self._log = logger
        self._over = over
        self._said: set[str] = set()

    @property
    def lasts(self) -> bool:
        return bool(self._said)

    def report(self, sentence: str) -> None:
        """It is away, or still is."""
        self._log.log(logging.DEBUG if sentence in self._said else logging.WARNING, "%s", sentence)
        self._said.add(sentence)

    def end(self) -> None:
        """It is there."""
        if self._said:
            self._said.clear()
            self._log.info("%s", self._over)


class Readiness:
    """Looks at what a process needs, again and again, between :meth:`watch` and its end.

    Args:
        checks: By the name of the dependency. One that raises or takes longer than :data:`TIMEOUT` is a problem.
    """

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._problems = dict.fromkeys(checks, "It has not been looked at yet.")
        self._outages = {name: OutageLog(log, f"Ready again: {name}") for name in checks}
        self._awake = asyncio.Event()

    @property
    def problems(self) -> dict[str, str]:
        """What the last look found: a sentence by name of the dependency."""
        return dict(self._problems)

    def look_again(self) -> None:
        """Look at once: something has changed."""
        self._awake.set()

    async def watch(self) -> None:
        """Until cancelled."""
        pause = _SOON
        while True:
            await self._look()
            # A process that starts is ready soon after what it waits for is there; a long outage is not asked so often.
            pause = min(2 * pause, _LATER) if self._problems else _SOON
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause if self._problems else EVERY):
                    await self._awake.wait()
            self._awake.clear()

    async def _look(self) -> None:
        found = await asyncio.gather(*(self._ask(name, check) for name, check in self._checks.items()))
        self._problems = {name: problem for name, problem in zip(self._checks, found, strict=True) if problem}
        for name, outage in self._outages.items():
            if name in self._problems:
                outage.report(f"Not ready: {self._problems[name]}")
            else:
                outage.end()

    async def _ask(self, name: str, check: Check) -> str | None:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await check()
        except TimeoutError:
            return f"No answer within {TIMEOUT:g} s ({name})."
        except Exception as error:
            log.debug("%s cannot be looked at: %r", name, error)
            return f"It cannot be looked at ({name}): {error or type(error).__name__}"
