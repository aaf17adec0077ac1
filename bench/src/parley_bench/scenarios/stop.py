"""From a click on Stop, in another tab than the sender's, to the model's provider connection being closed."""

from __future__ import annotations

import time
from functools import partial

from parley_bench.bench_stack import Lab
from parley_bench.http_connection import HttpLine
from parley_bench.scenario import NoMeasurement, Size, Table, Tell, brief, until
from parley_bench.statistics import percentile
from parley_cli.demo_model.stats import StreamRecord

_RUNS = 100
_OTHERS = 20
"""Answers that run beside it all the time."""

_UNITS = {"p50": "ms", "p99": "ms", "longest": "ms"}


async def stop(size: Size, tell: Tell) -> Table:
    """Measure."""
    runs, others = size.of(_RUNS), size.of(_OTHERS)
    table = Table("From Stop to the closed provider connection")
    samples = []
    async with Lab() as lab:
        beside = await lab.chats(others)
        await lab.prompts(beside, "demo-rate-50x30000")
        await lab.all_run(others)
        for repeat in range(size.repeats):
            samples.append(await _measure(lab, repeat, runs))
            tell(f"stop, {repeat + 1} of {size.repeats}: {brief(samples[-1])}")
        await lab.stop(beside)
    table.add(f"{runs} answers stopped, one after the other, while {others} others run", _UNITS, samples)
    return table


async def _measure(lab: Lab, repeat: int, runs: int) -> dict[str, float]:
    chats = await lab.chats(runs)
    clicked: dict[str, float] = {}
    async with HttpLine(lab.stack.url, lab.token) as other_tab:
        for number, chat_id in enumerate(chats):
            content = f"stop {repeat}.{number}"
            body = {"content": content, "model": "demo-rate-50x3000"}
            await lab.ask("POST", f"/v1/chats/{chat_id}/messages", body)
            await until(partial(_speaks, lab, content), 20, "the answer begins", every=0.05)
            clicked[content] = time.monotonic()
            await other_tab.ask("POST", f"/v1/chats/{chat_id}/stop", {})

    async def all_closed() -> bool:
        return all(each.end for each in await _streams(lab) if each.prompt in clicked)

    await until(all_closed, 20, "all connections closed")
    ends = {each.prompt: each for each in await _streams(lab)}
    took = []
    for content, at in clicked.items():
        record = ends[content]
        if record.end != "closed_by_client" or record.ended is None:
            raise NoMeasurement(f"{content} ended otherwise: {record.end}")
        took.append(record.ended - at)
    took.sort()
    return {"p50": percentile(took, 0.5) * 1000, "p99": percentile(took, 0.99) * 1000, "longest": took[-1] * 1000}


async def _speaks(lab: Lab, content: str) -> bool:
    return any(each.prompt == content and each.tokens > 5 for each in await _streams(lab))


async def _streams(lab: Lab) -> list[StreamRecord]:
    return (await lab.model()).streams
