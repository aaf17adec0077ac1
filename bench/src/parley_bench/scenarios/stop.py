"""From the request to stop an answer to the closed connection of the provider."""

from __future__ import annotations

import time
from functools import partial

from parley_bench.bench_stack import BenchStack
from parley_bench.scenario import NoMeasurement, OnProgress, Sample, Size, Table, repeat, until
from parley_bench.statistics import percentile
from parley_cli.demo_model.stats import StreamRecord

_RUNS = 100
_OTHERS = 20
"""Other answers that run all the time."""


async def stop(size: Size, on_progress: OnProgress) -> Table:
    runs, others = size.of(_RUNS), size.of(_OTHERS)
    table = Table("From Stop to the closed provider connection")
    async with BenchStack() as bench:
        background = await bench.chats(others)
        await bench.prompts(background, "demo-rate-50x30000")
        await bench.all_run(others)
        samples = await repeat(size, on_progress, "stop", partial(_measure, bench, runs))
        await bench.stop(background)
    table.add(f"{runs} answers stopped, one after the other, while {others} others run", samples)
    return table


async def _measure(bench: BenchStack, runs: int) -> Sample:
    chats = await bench.chats(runs)
    clicked: dict[str, float] = {}
    for chat_id in chats:
        content = f"prompt of {chat_id}"
        await bench.ask("POST", f"/v1/chats/{chat_id}/messages", {"content": content, "model": "demo-rate-50x3000"})
        await until(partial(_has_started, bench, content), 20, "the answer begins", every=0.05)
        clicked[content] = time.monotonic()
        await bench.ask("POST", f"/v1/chats/{chat_id}/stop", {})

    async def all_closed() -> bool:
        return all(each.end for each in await _streams(bench) if each.prompt in clicked)

    await until(all_closed, 20, "all connections closed")
    ends = {each.prompt: each for each in await _streams(bench)}
    took = []
    for content, at in clicked.items():
        record = ends[content]
        if record.end != "closed_by_client" or record.ended is None:
            raise NoMeasurement(f"{content} ended otherwise: {record.end}")
        took.append(record.ended - at)
    took.sort()
    return {
        "p50": (percentile(took, 0.5) * 1000, "ms"),
        "p99": (percentile(took, 0.99) * 1000, "ms"),
        "longest": (took[-1] * 1000, "ms"),
    }


async def _has_started(bench: BenchStack, content: str) -> bool:
    return any(each.prompt == content and each.tokens > 5 for each in await _streams(bench))


async def _streams(bench: BenchStack) -> list[StreamRecord]:
    return (await bench.model()).streams
