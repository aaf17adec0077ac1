"""Whether a process is ready, for ``/readyz`` and the log.

Dependencies are checked in the background, so a probe costs nothing, never waits and cannot fail, and an outage is
logged, in one sentence, with or without a probe.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str | None]]
"""Returns a sentence that names the problem and the fix; None when there is none."""

INTERVAL: Final = 2.0
"""Seconds between two checks while there is no problem."""

TIMEOUT: Final = 3.0
"""Seconds for one check of one dependency."""

_SOON: Final = 0.2
_LATER: Final = 1.0


class OutageLog:
    """Logs each sentence about an outage once, and its end once.

    Args:
        over: What to log at the end.
    """

    def __init__(self, logger: logging.Logger, over: str) -> None:
        self._log = logger
        self._over = over
        self._logged: set[str] = set()

    def report(self, sentence: str) -> None:
        """The outage begins or persists."""
        self._log.log(logging.DEBUG if sentence in self._logged else logging.WARNING, "%s", sentence)
        self._logged.add(sentence)

    def end(self) -> None:
        """The outage, if there was one, is over."""
        if self._logged:
            self._logged.clear()
            self._log.info("%s", self._over)


class Readiness:
    """Checks the dependencies of a process while :meth:`watch` runs.

    Args:
        checks: By the name of the dependency. One that raises or takes longer than :data:`TIMEOUT` is a problem.
    """

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._problems = dict.fromkeys(checks, "It has not been checked yet.")
        self._outages = {name: OutageLog(log, f"Ready again: {name}") for name in checks}
        self._requested = asyncio.Event()

    @property
    def problems(self) -> dict[str, str]:
        """The result of the last check: a sentence by name of the dependency."""
        return dict(self._problems)

    def check_now(self) -> None:
        """Check at once: something has changed."""
        self._requested.set()

    async def watch(self) -> None:
        """Until cancelled."""
        pause = _SOON
        while True:
            await self._check_all()
            # A process that starts becomes ready soon after its dependencies; a long outage is checked less often.
            pause = min(2 * pause, _LATER) if self._problems else _SOON
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause if self._problems else INTERVAL):
                    await self._requested.wait()
            self._requested.clear()

    async def _check_all(self) -> None:
        found = await asyncio.gather(*(self._check(name, check) for name, check in self._checks.items()))
        self._problems = {name: problem for name, problem in zip(self._checks, found, strict=True) if problem}
        for name, outage in self._outages.items():
            if name in self._problems:
                outage.report(f"Not ready: {self._problems[name]}")
            else:
                outage.end()

    async def _check(self, name: str, check: Check) -> str | None:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await check()
        except TimeoutError:
            return f"No answer within {TIMEOUT:g} s ({name})."
        except Exception as error:
            log.debug("%s cannot be checked: %r", name, error)
            return f"It cannot be checked ({name}): {error or type(error).__name__}"
