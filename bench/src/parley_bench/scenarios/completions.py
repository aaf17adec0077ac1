"""The same answers over the socket, as chat completions of the OpenAI API, and from a bare proxy, in one run."""

from __future__ import annotations

import asyncio
from functools import partial
from urllib.parse import urlsplit

from parley_bench.bench_stack import BenchStack
from parley_bench.reader_process import ReaderProcess
from parley_bench.scenario import OnProgress, Sample, Size, Table, repeat
from parley_bench.scenarios import delay, peers

_COUNTS = (10, 50)
_WARM_UP = 3.0
_PATH = ("llm-worker", "nats", "push", "gateway")
_COLUMNS = ("p50", "p99", "together", "model", "readers", "machine busy")


async def completions(size: Size, on_progress: OnProgress) -> Table:
    table = Table("Chat completions: added delay and CPU per token", on_row=size.on_row)
    counts = tuple(dict.fromkeys(size.of(count) for count in _COUNTS))
    async with BenchStack() as bench:
        for count in counts:
            for name, measuring in (("socket", _measure_socket), ("completions", _measure_completions)):
                what = f"{name}, {count} answers"
                table.add(what, await repeat(size, on_progress, what, partial(measuring, bench, count, size.window)))
    async with peers.demo_model() as (folder, model_port, model_pid), peers.bare(folder, model_port) as peer:
        for count in counts:
            what = f"bare proxy, {count} answers"
            measuring_peer = partial(peers.measure, peer, count, model_pid, size.window)
            table.add(what, await repeat(size, on_progress, what, measuring_peer))
    table.notes.append(
        "'Together': worker, NATS, push and, for chat completions, the gateway, which adds the columns 'push' and "
        "'gateway'. The bare proxy stores nothing, and its answers end with their connection."
    )
    return table


async def _measure_socket(bench: BenchStack, count: int, window: float) -> Sample:
    sample = await delay.measure(bench, count, window)
    return {name: sample[name] for name in _COLUMNS} | {"push": sample["push"], "gateway": (0.0, "µs")}


async def _measure_completions(bench: BenchStack, count: int, window: float) -> Sample:
    port = urlsplit(bench.stack.url).port
    assert port is not None
    async with ReaderProcess() as reader_process:
        # Long enough that they are stopped before they end: by the readers, who disconnect.
        model = f"demo-timed-{delay.RATE}x{delay.RATE * 600}"
        await reader_process.ask("ask_peer", peer="completions", port=port, count=count, model=model, token=bench.token)
        await bench.all_run(count)
        await asyncio.sleep(_WARM_UP)
        with bench.meter() as meter:
            got = await reader_process.count(window)
    await bench.all_run(0)
    sample = peers.cost_of_tokens("the gateway", got, meter, _PATH)
    return sample | {name: (meter.cpu[name] / got["tokens"] * 1e6, "µs") for name in ("push", "gateway")}
