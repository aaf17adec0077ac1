"""How many answers of 50 tokens a second this machine carries before their added delay shows."""

from __future__ import annotations

from parley_bench.bench_stack import BenchStack
from parley_bench.reader_process import ReaderProcessError
from parley_bench.scenario import NoMeasurement, OnProgress, Size, Table, brief
from parley_bench.scenarios.delay import measure

_FIRST, _MOST = 100, 1600
_STEP = 25
_LIMIT = 100.0
_ENOUGH = 0.97


async def ladder(size: Size, on_progress: OnProgress) -> Table:
    """Double the number until it is too high, then search by halves."""
    table = Table(f"The most answers whose p99 of added delay is at most {_LIMIT:g} ms", on_row=size.on_row)
    best, too_many = 0, size.of(_MOST) + size.of(_STEP)
    count = size.of(_FIRST)
    async with BenchStack() as bench:
        while True:
            try:
                sample = await measure(bench, count, size.window)
            except (NoMeasurement, ReaderProcessError) as error:
                # When the load generator or the model fails, this machine does not carry that many.
                table.notes.append(f"{count} answers could not be measured: {error}.")
                too_many = count
                break
            on_progress(f"ladder, {count} answers: {brief(sample)}")
            table.add(f"{count} answers", [sample])
            if sample["p99"][0] <= _LIMIT and sample["of the rate"][0] >= _ENOUGH * 100:
                best = max(best, count)
            else:
                too_many = min(too_many, count)
            count = min(2 * best, size.of(_MOST)) if too_many > size.of(_MOST) else (best + too_many) // 2
            if count <= best or too_many - best <= size.of(_STEP):
                break
    table.rows.sort(key=lambda row: int(row.what.split()[0]))
    table.notes.append(f"The most that was measured within the limit: {best} answers, {best * 50:,} tokens a second.")
    return table
