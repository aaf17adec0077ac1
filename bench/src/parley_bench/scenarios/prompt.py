"""From a POST to the request that leaves for the provider, at 50 prompts a second."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from parley_bench.bench_stack import BenchStack
from parley_bench.scenario import OnProgress, Sample, Size, Table, repeat, until
from parley_bench.statistics import percentile

RATE = 50
_ARRIVAL_TIMEOUT = 60.0
_MODEL = "demo-rate-1000x5"


async def prompt(size: Size, on_progress: OnProgress) -> Table:
    table = Table("From POST to the provider")
    async with BenchStack() as bench:
        samples = await repeat(size, on_progress, "prompt", partial(_measure, bench, size.window))
    table.add(f"{RATE} prompts/s, each to a chat of its own", samples)
    table.notes.append("p50, p99: from sending the POST to the request's arrival at the model. CPU: per prompt.")
    return table


async def _measure(bench: BenchStack, window: float) -> Sample:
    count = round(RATE * window)
    chats = await bench.chats(count)
    sent: dict[str, float] = {}
    accepted: list[float] = []

    async def post(chat_id: str) -> None:
        content = f"prompt of {chat_id}"
        began = sent[content] = time.monotonic()
        await bench.ask("POST", f"/v1/chats/{chat_id}/messages", {"content": content, "model": _MODEL})
        accepted.append(time.monotonic() - began)

    arrived: dict[str, float] = {}

    async def all_arrived() -> bool:
        arrived.update({each.prompt: each.started for each in (await bench.model()).streams})
        return sent.keys() <= arrived.keys()

    with bench.meter() as meter:
        started = time.monotonic()
        async with asyncio.TaskGroup() as posts:
            for number, chat_id in enumerate(chats):
                await asyncio.sleep(max(0.0, started + number / RATE - time.monotonic()))
                posts.create_task(post(chat_id))
        await until(all_arrived, _ARRIVAL_TIMEOUT, f"{count} prompts at the model")
        await bench.all_run(0)
    took = sorted(arrived[content] - began for content, began in sent.items())
    accepted.sort()
    each = {name: seconds / count * 1000 for name, seconds in meter.cpu.items()}
    return {
        "p50": (percentile(took, 0.5) * 1000, "ms"),
        "p99": (percentile(took, 0.99) * 1000, "ms"),
        "202 after, p50": (percentile(accepted, 0.5) * 1000, "ms"),
        "202 after, p99": (percentile(accepted, 0.99) * 1000, "ms"),
        "together": (
            sum(each[name] for name in ("gateway", "chat-store", "llm-worker", "push", "nats", "postgres")),
            "ms",
        ),
        "gateway": (each["gateway"], "ms"),
        "chat-store": (each["chat-store"], "ms"),
        "worker": (each["llm-worker"], "ms"),
        "NATS": (each["nats"], "ms"),
        "Postgres": (each["postgres"], "ms"),
        "machine busy": (meter.busy * 100, "%"),
    }
