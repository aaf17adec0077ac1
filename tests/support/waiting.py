"""Waiting for conditions, never for time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], *, deadline: float = 15.0, every: float = 0.02, what: str = ""
) -> T: ...
@overload
async def eventually(
    condition: Callable[[], T], *, deadline: float = 15.0, every: float = 0.02, what: str = ""
) -> T: ...
async def eventually(
    condition: Callable[[], Any], *, deadline: float = 15.0, every: float = 0.02, what: str = ""
) -> Any:
    """Return the first truthy value of ``condition``, which may be a coroutine function.

    An AssertionError from ``condition`` counts as "not yet".

    Raises:
        AssertionError: ``deadline`` seconds passed; it names the last value, or is the condition's own.
    """
    end = time.monotonic() + deadline
    while True:
        failure: AssertionError | None = None
        value = None
        try:
            got = condition()
            value = await got if inspect.isawaitable(got) else got
        except AssertionError as error:
            failure = error
        if value:
            return value
        if time.monotonic() > end:
            if failure is not None:
                raise failure
            raise AssertionError(f"{what or 'the condition'} did not come true in {deadline:g} s; last: {value!r}")
        await asyncio.sleep(every)


def wait_until(condition: Callable[[], T], *, deadline: float = 15.0, every: float = 0.02, what: str = "") -> T:
    """:func:`eventually` for code without an event loop."""
    end = time.monotonic() + deadline
    while True:
        if value := condition():
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what or 'the condition'} did not come true in {deadline:g} s; last: {value!r}")
        time.sleep(every)
