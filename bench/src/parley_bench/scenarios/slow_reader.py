"""One reader stops reading for 30 s while a 20,000-token answer runs: what that costs push and the others."""

from __future__ import annotations

import asyncio
from functools import partial

from parley_bench.bench_stack import BenchStack
from parley_bench.meter import resident
from parley_bench.reader_process import ReaderProcess
from parley_bench.scenario import OnProgress, Sample, Size, Table, repeat

_OTHERS = 10
_RATE, _TOKENS = 500, 20_000
_BEFORE = 5.0
_STALLED = 30.0
_CATCH_UP = 1.0
_RECEIVE_BUFFER = 8 * 1024


async def slow_reader(size: Size, on_progress: OnProgress) -> Table:
    table = Table("A reader that stops reading")
    async with BenchStack() as bench:
        samples = await repeat(size, on_progress, "slow reader", partial(_measure, bench, table, size.share))
    table.add(f"{_STALLED * min(1, size.share * 10):g} s of {_TOKENS:,} tokens at {_RATE}/s", samples)
    table.notes.append(
        "Frames to catch up: all that came within a second of reading again, those of that second included "
        f"(the answer continues), and the kernel's buffer ({_RECEIVE_BUFFER // 1024} KB)."
    )
    return table


async def _measure(bench: BenchStack, table: Table, share: float) -> Sample:
    (chat_id,) = await bench.chats(1)
    # A tenth of the time is enough to see that it works.
    shorter = min(1.0, share * 10)
    async with ReaderProcess() as others, ReaderProcess() as slow:
        await bench.open_readers(others, "timing", [chat_id] * _OTHERS)
        await bench.open_readers(slow, "assembling", [chat_id], receive_buffer=_RECEIVE_BUFFER)
        await bench.prompts([chat_id], f"demo-timed-{_RATE}x{round(_TOKENS * shorter)}")
        await bench.all_run(1)
        before = await others.count(_BEFORE * shorter)

        await slow.ask("pause", reader=0)
        memory = resident(bench.pid("push"))
        meanwhile = await others.count(_STALLED * shorter)
        growth = resident(bench.pid("push")) - memory

        await slow.ask("begin")
        await slow.ask("resume", reader=0)
        await asyncio.sleep(_CATCH_UP)
        caught_up = await slow.ask("end")
        done = await slow.ask("finished", seconds=60)
        if done["finished"] != 1:
            table.failures.append("the slow reader did not receive the end of the answer")
        found = (await slow.ask("assembled"))["digests"][chat_id]
        if found != [await bench.digest(chat_id)]:
            table.failures.append("the slow reader's text differs from the stored one")
    return {
        "push grew by": (growth / 1024, "KB"),
        "others' p99 before": (before["p99"], "ms"),
        "others' p99 meanwhile": (meanwhile["p99"], "ms"),
        "frames to catch up": (caught_up["frames"], ""),
        "bytes to catch up": (caught_up["bytes"] / 1024, "KB"),
    }
