"""``python -m parley_bench [SCENARIO...]``, which ``make bench`` runs."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from parley_bench.reader_process import CrewFailed
from parley_bench.scenario import FULL, SMOKE, NoMeasurement, Scenario, Size, Table, Tell
from parley_bench.tables import console, write
from parley_cli.embedded.errors import EmbeddedError
from parley_cli.stack.errors import StackError

SCENARIOS = {
    "delay": "added delay and CPU per token, 10 to 500 answers",
    "ladder": "the most answers whose p99 of added delay is at most 100 ms",
    "peers": "the same answers from the usual patterns",
    "fanout": "CPU per delivered frame, up to 2,000 readers and 2,000 rooms",
    "slow-reader": "one reader stops for 30 s",
    "reconnect": "2,000 sockets come back at once",
    "idle": "memory of a socket on which nothing happens",
    "prompt": "from POST to the provider, 50 prompts/s",
    "stop": "from Stop to the closed provider connection",
    "start": "from `parley up` to a page that answers",
}


def main() -> int:
    """Measure; return 0 when everything could be measured and came out right."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description="Measure the token path.")
    known = "; ".join(f"{name}: {what}" for name, what in SCENARIOS.items())
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"all, or some of: {known}")
    parser.add_argument("--repeats", type=int, default=FULL.repeats, help=f"default {FULL.repeats}")
    parser.add_argument("--window", type=float, default=FULL.window, metavar="SECONDS", help="measured each time")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="put the tables into this Markdown file, each row of a long one as soon as it is measured",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.scenarios) - SCENARIOS.keys()
    if unknown:
        print(f"There is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}.", file=sys.stderr)
        return 2
    size = SMOKE if arguments.smoke else Size(repeats=arguments.repeats, window=arguments.window)
    try:
        return 0 if _measure_all(arguments.scenarios or SCENARIOS, size, arguments.write) else 1
    except KeyboardInterrupt:
        return 130


def _measure_all(names: Iterable[str], size: Size, file: Path | None) -> bool:
    """Whether everything could be measured and came out right."""
    good = True
    for name in names:
        table = _measure(name, size if file is None else replace(size, grown=partial(write, file, name)))
        if table is None:
            good = False
            continue
        print(console(table), flush=True)
        good = good and not table.failures
        if file is not None:
            write(file, name, table)
    return good


def _measure(name: str, size: Size) -> Table | None:
    module = importlib.import_module(f"parley_bench.scenarios.{name.replace('-', '_')}")
    scenario: Scenario = getattr(module, name.replace("-", "_"))
    started = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - started:7.1f}  {line}", flush=True)

    try:
        return asyncio.run(_run(scenario, size, tell))
    except (NoMeasurement, CrewFailed, StackError, EmbeddedError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return None


async def _run(scenario: Scenario, size: Size, tell: Tell) -> Table:
    return await scenario(size, tell)


if __name__ == "__main__":
    sys.exit(main())
