"""What a socket costs on which nothing happens."""

from __future__ import annotations

import asyncio

from parley_bench.bench_stack import Lab
from parley_bench.meter import resident
from parley_bench.reader_process import Crew
from parley_bench.scenario import Size, Table, Tell, brief

_SOCKETS, _CHATS = 4000, 100
_SETTLE = 2.0

_UNITS = {"memory per socket": "KB", "CPU per 1,000 sockets": "% of a core"}


async def idle(size: Size, tell: Tell) -> Table:
    """Measure."""
    sockets, chats = size.of(_SOCKETS), size.of(_CHATS)
    table = Table("Idle sockets")
    samples = []
    for repeat in range(size.repeats):
        # A process that had many sockets keeps some of their memory: a new one each time.
        async with Lab() as lab:
            samples.append(await _measure(lab, sockets, chats, size.window))
        tell(f"idle, {repeat + 1} of {size.repeats}: {brief(samples[-1])}")
    table.add(f"{sockets:,} sockets, authenticated, each watching one of {chats} chats", _UNITS, samples)
    return table


async def _measure(lab: Lab, sockets: int, count: int, window: float) -> dict[str, float]:
    chats = await lab.chats(count)
    async with Crew() as crew, Crew() as first:
        where = {"url": lab.stack.push_url, "ticket": await lab.ticket(), "kind": "counting"}
        # The rooms are there before: what is measured is a socket.
        await first.ask("open", chats=chats, **where)
        before = resident(lab.pid("push"))
        await crew.ask("open", chats=[chats[number % count] for number in range(sockets)], **where)
        await asyncio.sleep(_SETTLE)
        grown = resident(lab.pid("push")) - before
        meter = lab.meter()
        meter.start()
        await asyncio.sleep(window)
        spent = meter.stop()
    return {
        "memory per socket": grown / sockets / 1024,
        "CPU per 1,000 sockets": spent["push"] / meter.elapsed * 100 / sockets * 1000,
    }
