"""A scope ends a part of a task, and not the task."""

import asyncio
import time

import pytest

from llm_worker.generation.cancel_scope import CancelScope, IdleTimeout


async def test_cancelling_a_scope_ends_its_body_and_not_the_task() -> None:
    scope = CancelScope()
    asyncio.get_running_loop().call_soon(scope.cancel)
    async with scope:
        await asyncio.Event().wait()
    assert scope.cancelled
    await asyncio.sleep(0)


async def test_a_body_that_ends_by_itself_is_not_cancelled() -> None:
    scope = CancelScope()
    async with scope:
        await asyncio.sleep(0)
    assert not scope.cancelled
    scope.cancel()
    await asyncio.sleep(0)


async def test_a_scope_cancelled_before_ends_its_body_at_the_first_wait() -> None:
    scope = CancelScope()
    scope.cancel()
    reached = False
    async with scope:
        await asyncio.sleep(0)
        reached = True
    assert not reached


async def test_a_cancellation_of_the_task_is_not_swallowed() -> None:
    scope = CancelScope()
    inside = asyncio.Event()

    async def work() -> None:
        async with scope:
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    scope.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_body_comes_out() -> None:
    scope = CancelScope()
    with pytest.raises(ValueError, match="own"):
        async with scope:
            raise ValueError("own")


async def test_the_body_ends_when_nothing_resets_the_timeout() -> None:
    timeout = IdleTimeout(0.05)
    began = time.monotonic()
    async with timeout:
        await asyncio.Event().wait()
    assert timeout.expired
    assert time.monotonic() - began >= 0.05


async def test_the_timeout_does_not_expire_while_it_is_reset() -> None:
    timeout = IdleTimeout(0.5)
    began = time.monotonic()
    async with timeout:
        while time.monotonic() - began < 1.2:
            await asyncio.sleep(0.01)
            timeout.reset(time.monotonic())
    assert not timeout.expired


async def test_another_limit_counts_from_when_it_was_set() -> None:
    timeout = IdleTimeout(60)
    async with timeout:
        timeout.set_limit(0.05)
        await asyncio.Event().wait()
    assert timeout.expired


async def test_a_timeout_does_not_expire_after_its_body() -> None:
    timeout = IdleTimeout(0.01)
    async with timeout:
        pass
    await asyncio.sleep(0.05)
    assert not timeout.expired


async def test_time_in_which_the_process_was_suspended_does_not_count() -> None:
    timeout = IdleTimeout(0.3)
    async with timeout:
        time.sleep(1.5)  # noqa: ASYNC251  # as a stopped process does
        # What came meanwhile is read only now.
        await asyncio.sleep(0.05)
        timeout.reset(time.monotonic())
        await asyncio.sleep(0.05)
    assert not timeout.expired


async def test_the_timeout_expires_also_after_a_suspension() -> None:
    timeout = IdleTimeout(0.3)
    async with timeout:
        time.sleep(1.5)  # noqa: ASYNC251
        await asyncio.Event().wait()
    assert timeout.expired
