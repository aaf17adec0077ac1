"""2,000 sockets on 50 running answers are dropped at once and come back at once."""

from __future__ import annotations

import asyncio
from functools import partial

from parley_bench.bench_stack import BenchStack
from parley_bench.reader_process import ReaderProcess
from parley_bench.scenario import OnProgress, Sample, Size, Table, repeat

_ANSWERS, _READERS = 50, 40
_RATE, _SECONDS = 10, 40
_BEFORE = 6.0


async def reconnect(size: Size, on_progress: OnProgress) -> Table:
    answers, readers = size.of(_ANSWERS), size.of(_READERS)
    table = Table("All readers reconnect at once")
    async with BenchStack() as bench:
        samples = await repeat(size, on_progress, "reconnect", partial(_measure, bench, answers, readers, table))
    table.add(f"{answers * readers:,} sockets on {answers} answers of {_RATE} tokens/s", samples)
    table.notes.append(
        "Every reader's texts were compared with the stored ones, byte for byte, after the answers' ends."
    )
    return table


async def _measure(bench: BenchStack, answers: int, readers: int, table: Table) -> Sample:
    chats = await bench.chats(answers)
    async with ReaderProcess() as reader_process:
        everyone = chats * readers
        await bench.open_readers(reader_process, "assembling", everyone)
        await bench.prompts(chats, f"demo-rate-{_RATE}x{_RATE * _SECONDS}")
        await bench.all_run(answers)
        await asyncio.sleep(_BEFORE)
        tickets = await bench.tickets(len(everyone))
        before = await _requests(bench)
        back = await reader_process.ask("drop", tickets=tickets)
        after = await _requests(bench)
        done = await reader_process.ask("finished", seconds=_SECONDS + 60)
        if done["finished"] != done["readers"]:
            table.failures.append(f"{done['readers'] - done['finished']} readers did not receive an end")
        await asyncio.sleep(1.0)
        assembled = await reader_process.ask("assembled")
        for chat_id, found in assembled["digests"].items():
            if found != [await bench.digest(chat_id)]:
                table.failures.append(
                    f"readers of chat {chat_id} have {len(found)} different texts, or not the stored one"
                )
    return {
        "half caught up": (back["p50"], "s"),
        "all caught up": (back["all"], "s"),
        "chat-store requests": (after["store"] - before["store"], ""),
        "worker requests": (after["worker"] - before["worker"], ""),
        "gaps": (assembled["gaps"], ""),
    }


async def _requests(bench: BenchStack) -> dict[str, float]:
    """Requests that push has made so far."""
    found = {"store": 0.0, "worker": 0.0}
    for series, value in (await bench.metrics("push")).items():
        if series.startswith("parley_push_requests_total"):
            found["worker" if 'request="snapshot"' in series else "store"] += value
    return found
