"""Cancelling tasks, and finishing work despite a cancellation."""

import asyncio
import gc

import pytest

from parley.runtime import tasks


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await tasks.end(task)
    assert task.cancelled()
    assert swallowed == 1


@pytest.mark.parametrize("error", [None, OSError("refused")])
async def test_a_cancellation_that_a_library_has_swallowed_is_raised(error: OSError | None) -> None:
    async def swallows() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if error is not None:
                raise error from None
        return "result"

    task = asyncio.create_task(tasks.keep_cancellation(swallows()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_what_was_cancelled_before_does_not_cancel_a_last_call() -> None:
    async def reply() -> str:
        await asyncio.sleep(0)
        return "reply"

    last_calls = []

    async def cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            last_calls.append(await tasks.keep_cancellation(reply()))

    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    await tasks.end(task)
    assert last_calls == ["reply"]


async def test_it_does_not_matter_how_a_task_ends() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError

    done = asyncio.create_task(asyncio.sleep(0))
    failing = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await tasks.end(done, failing)
    assert done.done()
    assert isinstance(failing.exception(), ValueError)


async def test_whoever_waits_for_the_end_can_be_cancelled() -> None:
    async def never() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if give_up.is_set():
                    raise

    give_up = asyncio.Event()
    task = asyncio.create_task(never())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(tasks.end(task))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    give_up.set()
    await tasks.end(task)


async def test_what_is_done_before_the_stop_is_the_result() -> None:
    async def work() -> int:
        return 7

    assert await tasks.unless(asyncio.Event(), work()) == 7


async def test_a_stop_ends_what_is_not_done() -> None:
    stop, ended = asyncio.Event(), asyncio.Event()

    async def work() -> bool:
        try:
            stop.set()
            return await asyncio.Event().wait()
        finally:
            ended.set()

    assert await tasks.unless(stop, work()) is None
    assert ended.is_set()


async def test_what_fails_before_the_stop_fails() -> None:
    async def work() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await tasks.unless(asyncio.Event(), work())


async def test_a_cancellation_waits_for_work_that_finishes_in_time() -> None:
    done = False

    async def work() -> None:
        nonlocal done
        await asyncio.sleep(0.05)
        done = True

    task = asyncio.create_task(tasks.finish_despite_cancellation(work(), 10))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done


async def test_work_that_outlasts_the_grace_is_cancelled() -> None:
    task = asyncio.create_task(tasks.finish_despite_cancellation(asyncio.Event().wait(), 0.01))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_moment_of_the_result_is_not_swallowed() -> None:
    result: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await asyncio.wait_for(result, 10)

    task = asyncio.create_task(tasks.finish_despite_cancellation(work(), 10))
    for _ in range(3):
        await asyncio.sleep(0)
    result.set_result(None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await tasks.finish_despite_cancellation(work(), 1)


async def test_an_error_after_the_cancellation_is_not_reported_as_unretrieved() -> None:
    said: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    broken = asyncio.Event()

    async def work() -> None:
        await broken.wait()
        raise ValueError("broken")

    task = asyncio.create_task(tasks.finish_despite_cancellation(work(), 10))
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
