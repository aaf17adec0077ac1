"""Answers of 50 tokens a second: how much later each token arrives than the model wrote it, and what it costs.

One reader per answer. The model writes the time into each token; model and readers share the machine's clock.
"""

from __future__ import annotations

import asyncio

from parley_tools.bench.crew import Crew
from parley_tools.bench.lab import Lab
from parley_tools.bench.scenario import Size, Table, Tell, brief

RATE = 50
_COUNTS = (10, 100, 250, 500)
_SETTLE = 3.0
_PATH = ("llm-worker", "nats", "push")

UNITS = {
    "p50": "ms",
    "p99": "ms",
    "worker": "µs",
    "NATS": "µs",
    "push": "µs",
    "together": "µs",
    "model": "µs",
    "readers": "µs",
    "tokens per delta": "",
    "machine busy": "%",
}


async def delay(size: Size, tell: Tell) -> Table:
    """Measure."""
    table = Table("Added delay and CPU per token")
    async with Lab() as lab:
        for count in dict.fromkeys(size.of(count) for count in _COUNTS):
            samples = []
            for repeat in range(size.repeats):
                samples.append(await _measure(lab, count, size.window))
                tell(f"delay, {count} answers, {repeat + 1} of {size.repeats}: " + brief(samples[-1]))
            table.add(f"{count} answers", UNITS, samples)
    table.notes.append("Delay: from the model's write to the reader's receive. CPU: microseconds per token delivered.")
    return table


async def _measure(lab: Lab, count: int, window: float) -> dict[str, float]:
    chats = await lab.chats(count)
    async with Crew() as crew:
        await crew.ask("open", url=lab.stack.push_url, ticket=await lab.ticket(), kind="timing", chats=chats)
        # Long enough to be stopped by us, not by their end.
        await lab.prompts(chats, f"demo-timed-{RATE}x{RATE * 600}")

        await lab.all_run(count)
        await asyncio.sleep(_SETTLE)
        meter = lab.meter()
        meter.start()
        await crew.ask("begin")
        await asyncio.sleep(window)
        got = await crew.ask("end")
        spent = meter.stop()
        await lab.stop(chats)
    tokens = got["tokens"]
    micro = {name: seconds / tokens * 1e6 for name, seconds in spent.items()}
    return {
        "p50": got["p50"],
        "p99": got["p99"],
        "worker": micro["llm-worker"],
        "NATS": micro["nats"],
        "push": micro["push"],
        "together": sum(micro[name] for name in _PATH),
        "model": micro["demo-model"],
        "readers": got["cpu"] / tokens * 1e6,
        "tokens per delta": tokens / got["frames"],
        "machine busy": meter.busy * 100,
        "tokens": tokens,
    }
