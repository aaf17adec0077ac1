"""A stretch of work ends from outside; the task goes on."""

import asyncio
import time

import pytest

from llm_worker.generation.cancel_scope import Interruption
from llm_worker.generation.idle_timeout import Watchdog


async def test_the_body_is_left_and_the_task_goes_on() -> None:
    interruption = Interruption()
    asyncio.get_running_loop().call_soon(interruption.interrupt)
    async with interruption:
        await asyncio.Event().wait()
    assert interruption.happened
    await asyncio.sleep(0)


async def test_a_body_that_ends_by_itself_is_not_interrupted() -> None:
    interruption = Interruption()
    async with interruption:
        await asyncio.sleep(0)
    assert not interruption.happened
    interruption.interrupt()
    await asyncio.sleep(0)


async def test_what_happened_before_ends_the_body_at_its_first_wait() -> None:
    interruption = Interruption()
    interruption.interrupt()
    reached = False
    async with interruption:
        await asyncio.sleep(0)
        reached = True
    assert not reached


async def test_a_cancellation_of_the_task_is_not_swallowed() -> None:
    interruption = Interruption()
    inside = asyncio.Event()

    async def work() -> None:
        async with interruption:
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    interruption.interrupt()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_body_comes_out() -> None:
    interruption = Interruption()
    with pytest.raises(ValueError, match="own"):
        async with interruption:
            raise ValueError("own")


async def test_the_watchdog_bites_after_silence() -> None:
    watchdog = Watchdog(0.05)
    began = time.monotonic()
    async with watchdog:
        await asyncio.Event().wait()
    assert watchdog.bit
    assert time.monotonic() - began >= 0.05


async def test_the_watchdog_does_not_bite_while_something_comes() -> None:
    watchdog = Watchdog(0.5)
    began = time.monotonic()
    async with watchdog:
        while time.monotonic() - began < 1.2:
            await asyncio.sleep(0.01)
            watchdog.touch(time.monotonic())
    assert not watchdog.bit


async def test_another_limit_counts_from_when_it_was_set() -> None:
    watchdog = Watchdog(60)
    async with watchdog:
        watchdog.expect(0.05)
        await asyncio.Event().wait()
    assert watchdog.bit


async def test_a_watchdog_that_is_left_does_not_bite_later() -> None:
    watchdog = Watchdog(0.01)
    async with watchdog:
        pass
    await asyncio.sleep(0.05)
    assert not watchdog.bit


async def test_the_watchdog_does_not_blame_others_for_a_process_that_stood_still() -> None:
    watchdog = Watchdog(0.3)
    async with watchdog:
        time.sleep(1.5)  # noqa: ASYNC251  # as a stopped process does
        # What came meanwhile is read only now.
        await asyncio.sleep(0.05)
        watchdog.touch(time.monotonic())
        await asyncio.sleep(0.05)
    assert not watchdog.bit


async def test_the_watchdog_bites_also_after_it_stood_still() -> None:
    watchdog = Watchdog(0.3)
    async with watchdog:
        time.sleep(1.5)  # noqa: ASYNC251
        await asyncio.sleep(30)
    assert watchdog.bit
