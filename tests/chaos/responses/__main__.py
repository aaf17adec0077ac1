"""``python -m tests.chaos.responses``: responses read while every part is killed at random."""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.chaos.responses.run import RunOptions, run
from tests.chaos.run import LOG


def main(
    *,
    minutes: Annotated[float, typer.Option(help="for how long parts are killed")] = 3.0,
    responses: Annotated[int, typer.Option(help="responses that are read")] = 100,
    seed: Annotated[int | None, typer.Option(help="of the kills; default: a random one, which is printed")] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="between two kills, on average")] = 3.0,
) -> None:
    """Kill every part at random while responses are read with OpenAI's SDK; check that nothing is lost or doubled."""
    logging.getLogger("parley").setLevel(logging.ERROR)
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="parley-chaos-")).absolute()
    options = RunOptions(seconds=minutes * 60, responses=responses, seed=seed, folder=folder, every=every)
    started = time.monotonic()
    report = asyncio.run(run(options, lambda line: print(f"{time.monotonic() - started:7.1f}  {line}", flush=True)))
    print("\n".join(["", *report.lines(), f"The log is {folder / LOG}."]))
    raise typer.Exit(0 if report.good else 1)


if __name__ == "__main__":
    typer.run(main)
