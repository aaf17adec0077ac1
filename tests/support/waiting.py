"""Waiting for conditions, never for time."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from parley_cli.polling import poll, poll_blocking

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
    failure: AssertionError | None = None
    value = None

    async def check() -> Any:
        nonlocal failure, value
        failure, value = None, None
        try:
            got = condition()
            value = await got if inspect.isawaitable(got) else got
        except AssertionError as error:
            failure = error
        return value

    try:
        return await poll(check, timeout=deadline, every=every)
    except TimeoutError:
        if failure is not None:
            raise failure from None
        raise _not_yet(what, deadline, value) from None


def wait_until(condition: Callable[[], T], *, deadline: float = 15.0, every: float = 0.02, what: str = "") -> T:
    """:func:`eventually` for code without an event loop."""
    value: T | None = None

    def check() -> T:
        nonlocal value
        value = condition()
        return value

    try:
        return poll_blocking(check, timeout=deadline, every=every)
    except TimeoutError:
        raise _not_yet(what, deadline, value) from None


def _not_yet(what: str, deadline: float, value: object) -> AssertionError:
    return AssertionError(f"{what or 'the condition'} did not come true in {deadline:g} s; last: {value!r}")
