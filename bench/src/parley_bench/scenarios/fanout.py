"""What a delivered frame costs push: many readers of one room, and many rooms with one reader each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from parley_bench.baseline import bare_write
from parley_bench.bench_stack import Lab
from parley_bench.reader_process import Crew
from parley_bench.scenario import Size, Table, Tell, brief

_SETTLE = 3.0


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
_UNITS = {
    "push per frame": "µs",
    "bare write": "µs",
    "ratio": "",
    "worker per token": "µs",
    "NATS per token": "µs",
    "frames": "/s",
    "readers' own, per frame": "µs",
    "machine busy": "%",
}


async def fanout(size: Size, tell: Tell) -> Table:
    """Measure."""
    table = Table("CPU per delivered frame", grown=size.grown)
    async with Lab() as lab:
        for shape in _SHAPES:
            rooms, readers = size.of(shape.rooms), size.of(shape.readers)
            samples = []
            for repeat in range(size.repeats):
                samples.append(await _measure(lab, rooms, readers, shape.rate, size.window))
                tell(f"{rooms} x {readers}, {repeat + 1} of {size.repeats}: {brief(samples[-1])}")
            what = f"{rooms:,} room{'s' * (rooms > 1)} × {readers:,} reader{'s' * (readers > 1)}, {shape.rate} tokens/s"
            table.add(what, _UNITS, samples)
    table.notes.append(
        "'Bare write' is what one `send` of 300 bytes costs on this machine in this run, without anything else; "
        "'ratio' is a delivered frame, all of push included, over that."
    )
    table.notes.append(
        "The cost per token includes what an answer costs each second however little it says (heartbeats, a "
        "segment), so rooms compare with rooms at the same rate."
    )
    return table


async def _measure(lab: Lab, rooms: int, readers: int, rate: int, window: float) -> dict[str, float]:
    write = bare_write()
    chats = await lab.chats(rooms)
    async with Crew() as crew:
        everyone = chats * readers
        await crew.ask("open", url=lab.stack.push_url, ticket=await lab.ticket(), kind="counting", chats=everyone)
        await lab.prompts(chats, f"demo-rate-{rate}x{rate * 600}")
        await lab.all_run(rooms)
        await asyncio.sleep(_SETTLE)
        meter = lab.meter()
        tokens = await _tokens(lab)
        meter.start()
        await crew.ask("begin")
        await asyncio.sleep(window)
        got = await crew.ask("end")
        spent = meter.stop()
        tokens = await _tokens(lab) - tokens
        await lab.stop(chats)
    frames = got["frames"]
    return {
        "push per frame": spent["push"] / frames * 1e6,
        "bare write": write,
        "ratio": spent["push"] / frames * 1e6 / write,
        "worker per token": spent["llm-worker"] / tokens * 1e6,
        "NATS per token": spent["nats"] / tokens * 1e6,
        "frames": frames / meter.elapsed,
        "readers' own, per frame": got["cpu"] / frames * 1e6,
        "machine busy": meter.busy * 100,
    }


async def _tokens(lab: Lab) -> float:
    return (await lab.metrics("llm-worker"))["parley_llm_worker_tokens_total"]
