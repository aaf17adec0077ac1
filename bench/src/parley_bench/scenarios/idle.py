"""What a socket costs on which nothing happens."""

from __future__ import annotations

import asyncio
from functools import partial

from parley_bench.bench_stack import BenchStack
from parley_bench.meter import resident
from parley_bench.reader_process import ReaderProcess
from parley_bench.scenario import OnProgress, Sample, Size, Table, repeat

_SOCKETS, _CHATS = 4000, 100
_WARM_UP = 2.0


async def idle(size: Size, on_progress: OnProgress) -> Table:
    sockets, chats = size.of(_SOCKETS), size.of(_CHATS)
    table = Table("Idle sockets")
    samples = await repeat(size, on_progress, "idle", partial(_measure, sockets, chats, size.window))
    table.add(f"{sockets:,} sockets, authenticated, each watching one of {chats} chats", samples)
    return table


async def _measure(sockets: int, count: int, window: float) -> Sample:
    # A stack each time: a process that had many sockets keeps some of their memory.
    async with BenchStack() as bench, ReaderProcess() as reader_process, ReaderProcess() as first:
        chats = await bench.chats(count)
        # The rooms exist before the measurement, which is that of a socket.
        await bench.open_readers(first, "counting", chats)
        before = resident(bench.pid("push"))
        await bench.open_readers(reader_process, "counting", [chats[number % count] for number in range(sockets)])
        await asyncio.sleep(_WARM_UP)
        growth = resident(bench.pid("push")) - before
        with bench.meter() as meter:
            await asyncio.sleep(window)
    return {
        "memory per socket": (growth / sockets / 1024, "KB"),
        "CPU per 1,000 sockets": (meter.cpu["push"] / meter.elapsed * 100 / sockets * 1000, "% of a core"),
    }
