"""Answers of 50 tokens a second: how much later each token arrives than the model wrote it, and what it costs.

One reader per answer. The model writes the time into each token; model and readers share the machine's clock.
"""

from __future__ import annotations

import asyncio
from functools import partial

from parley_bench.baseline import bare_write
from parley_bench.bench_stack import BenchStack
from parley_bench.reader_process import ReaderProcess
from parley_bench.scenario import OnProgress, Sample, Size, Table, repeat

RATE = 50
_COUNTS = (10, 100, 250, 500)
_WARM_UP = 3.0
_PATH = ("llm-worker", "nats", "push")


async def delay(size: Size, on_progress: OnProgress) -> Table:
    table = Table("Added delay and CPU per token", on_row=size.on_row)
    async with BenchStack() as bench:
        for count in dict.fromkeys(size.of(count) for count in _COUNTS):
            measuring = partial(measure, bench, count, size.window)
            samples = await repeat(size, on_progress, f"delay, {count} answers", measuring)
            table.add(f"{count} answers", samples)
    table.notes.append(
        "Delay: from the model's write to the reader's receive. CPU: microseconds per token delivered. A token that "
        "travels alone makes three writes, of which 'bare write' is the cost alone, on this machine in this run. "
        "'Of the rate': of the tokens that the model should have sent. Where that is below 100 %, a core near 100 %, "
        "or the readers' own lag near the p99, the machine or the load generator is the limit."
    )
    return table


async def measure(bench: BenchStack, count: int, window: float) -> Sample:
    """Run ``count`` answers with a reader each; return one sample."""
    write = bare_write()
    chats = await bench.chats(count)
    async with ReaderProcess() as reader_process:
        await bench.open_readers(reader_process, "timing", chats)
        # Long enough that they are stopped before they end.
        await bench.prompts(chats, f"demo-timed-{RATE}x{RATE * 600}")
        await bench.all_run(count)
        await asyncio.sleep(_WARM_UP)
        with bench.meter() as meter:
            got = await reader_process.count(window)
        await bench.stop(chats)
    tokens = got["tokens"]
    micro = {name: seconds / tokens * 1e6 for name, seconds in meter.cpu.items()}
    return {
        "p50": (got["p50"], "ms"),
        "p99": (got["p99"], "ms"),
        "worker": (micro["llm-worker"], "µs"),
        "NATS": (micro["nats"], "µs"),
        "push": (micro["push"], "µs"),
        "together": (sum(micro[name] for name in _PATH), "µs"),
        "model": (micro["demo-model"], "µs"),
        "readers": (got["cpu"] / tokens * 1e6, "µs"),
        "bare write": (write, "µs"),
        "tokens per delta": (tokens / got["frames"], ""),
        "of the rate": (tokens / meter.elapsed / (count * RATE) * 100, "%"),
        "worker's core": (meter.cpu["llm-worker"] / meter.elapsed * 100, "%"),
        "push's core": (meter.cpu["push"] / meter.elapsed * 100, "%"),
        "model's core": (meter.cpu["demo-model"] / meter.elapsed * 100, "%"),
        "readers' core": (got["core"] * 100, "%"),
        "readers' lag, p99": (got["lag"], "ms"),
        "machine busy": (meter.busy * 100, "%"),
    }
