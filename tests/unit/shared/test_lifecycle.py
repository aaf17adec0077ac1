"""The end of a process."""

import asyncio
import gc
import os
import signal
from collections.abc import Iterator

import pytest

from parley.runtime import lifecycle


@pytest.fixture(autouse=True)
def _collect_again() -> Iterator[None]:
    """This process goes on."""
    yield
    gc.unfreeze()


def test_a_signal_lets_main_finish() -> None:
    async def main(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()

    assert lifecycle.run(main) == 0


def test_the_interpreter_has_no_garbage_to_look_for_when_it_ends() -> None:
    async def main(_: asyncio.Event) -> None:
        pass

    assert lifecycle.run(main) == 0
    assert gc.get_freeze_count() > 0


def test_a_task_that_loses_a_cancellation_does_not_keep_the_process() -> None:
    lost = 0

    async def loses_two() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    async def main(_: asyncio.Event) -> None:
        tasks.append(asyncio.create_task(loses_two()))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    assert lifecycle.run(main) == 0
    assert lost == 2
    assert tasks[0].cancelled()
