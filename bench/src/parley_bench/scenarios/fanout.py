"""What a delivered frame costs push: many readers of one room, and many rooms with one reader each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from parley_bench.baseline import bare_write
from parley_bench.bench_stack import BenchStack
from parley_bench.reader_process import ReaderProcess
from parley_bench.scenario import OnProgress, Sample, Size, Table, repeat

_WARM_UP = 3.0


@dataclass(frozen=True)
class _Shape:
    """``rate``: tokens a second of each answer, such that the machine is well below its limit."""

    rooms: int
    readers: int
    rate: int


_SHAPES = (
    _Shape(1, 10, 500),
    _Shape(1, 100, 100),
    _Shape(1, 2000, 10),
    _Shape(20, 1, 2),
    _Shape(200, 1, 2),
    _Shape(2000, 1, 2),
)


async def fanout(size: Size, on_progress: OnProgress) -> Table:
    table = Table("CPU per delivered frame", on_row=size.on_row)
    async with BenchStack() as bench:
        for shape in _SHAPES:
            rooms, readers = size.of(shape.rooms), size.of(shape.readers)
            measuring = partial(_measure, bench, rooms, readers, shape.rate, size.window)
            samples = await repeat(size, on_progress, f"{rooms} x {readers}", measuring)
            what = f"{rooms:,} room{'s' * (rooms > 1)} × {readers:,} reader{'s' * (readers > 1)}, {shape.rate} tokens/s"
            table.add(what, samples)
    table.notes.append(
        "'Bare write' is what one `send` of 300 bytes costs on this machine in this run, without anything else; "
        "'ratio' is a delivered frame, all of push included, over that."
    )
    table.notes.append(
        "The cost per token includes the fixed cost of an answer per second (heartbeats, a "
        "segment), so rooms compare with rooms at the same rate."
    )
    return table


async def _measure(bench: BenchStack, rooms: int, readers: int, rate: int, window: float) -> Sample:
    write = bare_write()
    chats = await bench.chats(rooms)
    async with ReaderProcess() as reader_process:
        await bench.open_readers(reader_process, "counting", chats * readers)
        await bench.prompts(chats, f"demo-rate-{rate}x{rate * 600}")
        await bench.all_run(rooms)
        await asyncio.sleep(_WARM_UP)
        tokens = await _tokens(bench)
        with bench.meter() as meter:
            got = await reader_process.count(window)
        tokens = await _tokens(bench) - tokens
        await bench.stop(chats)
    frames = got["frames"]
    return {
        "push per frame": (meter.cpu["push"] / frames * 1e6, "µs"),
        "bare write": (write, "µs"),
        "ratio": (meter.cpu["push"] / frames * 1e6 / write, ""),
        "worker per token": (meter.cpu["llm-worker"] / tokens * 1e6, "µs"),
        "NATS per token": (meter.cpu["nats"] / tokens * 1e6, "µs"),
        "frames": (frames / meter.elapsed, "/s"),
        "readers' own, per frame": (got["cpu"] / frames * 1e6, "µs"),
        "machine busy": (meter.busy * 100, "%"),
    }


async def _tokens(bench: BenchStack) -> float:
    return (await bench.metrics("llm-worker"))["parley_llm_worker_tokens_total"]
