"""The benchmarks run: tiny ones, on a stack of their own."""

import pytest

from parley_bench.scenario import Size
from parley_bench.scenarios.delay import delay
from parley_bench.scenarios.prompt import prompt

TINY = Size(repeats=1, window=1.0, share=0.002)
pytestmark = pytest.mark.timeout(240)


async def test_delay_and_cost_of_a_token_are_measured() -> None:
    table = await delay(TINY, print)
    (row,) = table.rows
    assert row.what == "1 answers"
    assert row.figures["p50"].median > 0
    assert row.figures["together"].median > 0
    assert table.failures == []


async def test_the_way_of_a_prompt_is_measured() -> None:
    table = await prompt(TINY, print)
    (row,) = table.rows
    assert 0 < row.figures["p50"].median <= row.figures["p99"].median
