"""What is in hand gets done, and a cancellation always arrives."""

import asyncio
import gc

import pytest

from chat_store.tasks import finish_even_if_cancelled


async def test_a_cancellation_waits_for_what_is_in_hand() -> None:
    done = False

    async def work() -> None:
        nonlocal done
        await asyncio.sleep(0.05)
        done = True

    task = asyncio.create_task(finish_even_if_cancelled(work(), 10))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done


async def test_what_takes_too_long_is_cancelled() -> None:
    task = asyncio.create_task(finish_even_if_cancelled(asyncio.Event().wait(), 0.01))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_moment_of_the_result_is_not_swallowed() -> None:
    result: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await asyncio.wait_for(result, 10)

    task = asyncio.create_task(finish_even_if_cancelled(work(), 10))
    for _ in range(3):
        await asyncio.sleep(0)
    result.set_result(None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_errors_come_through() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await finish_even_if_cancelled(work(), 1)


async def test_what_fails_after_the_cancellation_is_nobodys() -> None:
    said: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    broken = asyncio.Event()

    async def work() -> None:
        await broken.wait()
        raise ValueError("broken")

    task = asyncio.create_task(finish_even_if_cancelled(work(), 10))
    await asyncio.sleep(0)
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    broken.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    gc.collect()
    assert said == []
