"""``python -m parley_bench [SCENARIO...]``, which ``make bench`` runs."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from parley_bench.reader_process import ReaderProcessError
from parley_bench.scenario import FULL, SMOKE, NoMeasurement, Scenario, Size, Table
from parley_bench.tables import console, write
from parley_cli import output
from parley_cli.embedded.errors import EmbeddedError
from parley_cli.stack.errors import StackError

SCENARIOS = {
    "delay": "added delay and CPU per token, 10 to 500 answers",
    "ladder": "the most answers whose p99 of added delay is at most 100 ms",
    "peers": "the same answers from common architectures",
    "completions": "CPU per token through the OpenAI API, compared with the socket and a bare proxy",
    "fanout": "CPU per delivered frame, up to 2,000 readers and 2,000 rooms",
    "slow-reader": "one reader stops for 30 s",
    "reconnect": "2,000 sockets reconnect at once",
    "revocation": "from a sign-out to the closed sockets and streams of three push processes, 100 times",
    "idle": "memory of an idle socket",
    "prompt": "from POST to the provider, 50 prompts/s",
    "stop": "from Stop to the closed provider connection",
    "start": "from `parley up` to a page that responds",
}
_HELP = "all, or some of: " + "; ".join(f"{name}: {what}" for name, what in SCENARIOS.items())


def main(
    *,
    scenarios: Annotated[list[str] | None, typer.Argument(metavar="SCENARIO", help=_HELP)] = None,
    repeats: Annotated[int, typer.Option(help="of each measurement")] = FULL.repeats,
    window: Annotated[float, typer.Option(metavar="SECONDS", help="length of each measurement")] = FULL.window,
    smoke: Annotated[bool, typer.Option("--smoke", help="tiny sizes: shows that it works, measures nothing")] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--write", metavar="FILE", help="put the tables into this Markdown file, row by row as they are measured"
        ),
    ] = None,
) -> None:
    """Measure the token path."""
    unknown = set(scenarios or ()) - SCENARIOS.keys()
    if unknown:
        print(f"There is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}.", file=sys.stderr)
        raise typer.Exit(2)
    size = SMOKE if smoke else Size(repeats=repeats, window=window)
    raise typer.Exit(0 if _measure_all(scenarios or SCENARIOS, size, file) else 1)


def _measure_all(names: Iterable[str], size: Size, file: Path | None) -> bool:
    """Return whether everything could be measured and had the right results."""
    good = True
    for name in names:
        table = _measure(name, size if file is None else replace(size, on_row=partial(write, file, name)))
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
    with output.progress(name) as update:

        def on_progress(line: str) -> None:
            print(f"{time.monotonic() - started:7.1f}  {line}", flush=True)
            update(line)

        async def run() -> Table:
            return await scenario(size, on_progress)

        try:
            return asyncio.run(run())
        except (NoMeasurement, ReaderProcessError, StackError, EmbeddedError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return None


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(main)
    app(prog_name="make bench ARGS=")
