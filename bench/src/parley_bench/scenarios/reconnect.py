"""2,000 sockets on 50 running answers are dropped at once and come back at once."""

from __future__ import annotations

import asyncio

from parley_bench.bench_stack import Lab
from parley_bench.reader_process import Crew
from parley_bench.scenario import Size, Table, Tell, brief

_ANSWERS, _READERS = 50, 40
_RATE, _SECONDS = 10, 40
_BEFORE = 6.0

_UNITS = {
    "half caught up": "s",
    "all caught up": "s",
    "chat-store requests": "",
    "worker requests": "",
    "gaps": "",
}


async def reconnect(size: Size, tell: Tell) -> Table:
    """Measure."""
    answers, readers = size.of(_ANSWERS), size.of(_READERS)
    table = Table("All readers reconnect at once")
    samples = []
    async with Lab() as lab:
        for repeat in range(size.repeats):
            samples.append(await _measure(lab, answers, readers, table))
            tell(f"reconnect, {repeat + 1} of {size.repeats}: {brief(samples[-1])}")
    table.add(f"{answers * readers:,} sockets on {answers} answers of {_RATE} tokens/s", _UNITS, samples)
    table.notes.append(
        "Every reader's texts were compared with the stored ones, byte for byte, after the answers' ends."
    )
    return table


async def _measure(lab: Lab, answers: int, readers: int, table: Table) -> dict[str, float]:
    chats = await lab.chats(answers)
    async with Crew() as crew:
        where = {"url": lab.stack.push_url, "ticket": await lab.ticket()}
        await crew.ask("open", kind="assembling", chats=chats * readers, **where)
        await lab.prompts(chats, f"demo-rate-{_RATE}x{_RATE * _SECONDS}")
        await lab.all_run(answers)
        await asyncio.sleep(_BEFORE)
        ticket = await lab.ticket()
        before = await _requests(lab)
        back = await crew.ask("drop", ticket=ticket)
        after = await _requests(lab)
        done = await crew.ask("finished", seconds=_SECONDS + 60)
        if done["finished"] != done["readers"]:
            table.failures.append(f"{done['readers'] - done['finished']} readers were not told of an end")
        await asyncio.sleep(1.0)
        assembled = await crew.ask("assembled")
        for chat_id, found in assembled["digests"].items():
            if found != [await lab.digest(chat_id)]:
                table.failures.append(
                    f"readers of chat {chat_id} have {len(found)} different texts, or not the stored one"
                )
    return {
        "half caught up": back["p50"],
        "all caught up": back["all"],
        "chat-store requests": after["store"] - before["store"],
        "worker requests": after["worker"] - before["worker"],
        "gaps": assembled["gaps"],
    }


async def _requests(lab: Lab) -> dict[str, float]:
    """Requests that push has made so far."""
    found = {"store": 0.0, "worker": 0.0}
    for series, value in (await lab.metrics("push")).items():
        if series.startswith("parley_push_requests_total"):
            found["worker" if 'request="snapshot"' in series else "store"] += value
    return found
