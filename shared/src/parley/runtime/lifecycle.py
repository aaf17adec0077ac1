"""Starting and stopping a process."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run ``main`` until it returns and give the process's exit code.

    SIGTERM and SIGINT set the event that ``main`` is given; it then finishes what it must and returns. A second
    signal ends the process at once.
    """
    runner = asyncio.Runner(loop_factory=_loop_factory())
    with runner, contextlib.suppress(KeyboardInterrupt):
        runner.run(_run(main))
        return 0
    return 130


async def _run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            loop.remove_signal_handler(number)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
        loop.add_signal_handler(number, on_signal, number)
    await main(stop)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop
