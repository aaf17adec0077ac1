"""``python -m tests.chaos.protocols``, which ``make chaos-protocols`` runs."""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tests.chaos.protocols.run import PROTOCOLS, RunOptions, run
from tests.chaos.run import LOG

Protocol = Enum("Protocol", {name: name for name in PROTOCOLS})  # type: ignore[misc]


def main(
    *,
    protocol: Annotated[list[Protocol] | None, typer.Option(help="of the readers; default: all, at once")] = None,
    minutes: Annotated[float, typer.Option(help="for how long parts are killed")] = 3.0,
    answers: Annotated[int, typer.Option(help="answers that are read with each protocol")] = 100,
    seed: Annotated[int | None, typer.Option(help="of the kills; default: a random one, which is printed")] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="between two kills, on average")] = 3.0,
) -> None:
    """Kill every part at random while answers are read over open protocols; check that nothing is lost or doubled."""
    logging.getLogger("parley").setLevel(logging.ERROR)
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="parley-chaos-")).absolute()
    protocols = [each.value for each in protocol or Protocol]
    options = RunOptions(
        protocols=protocols, seconds=minutes * 60, answers=answers, seed=seed, folder=folder, every=every
    )
    started = time.monotonic()
    report = asyncio.run(run(options, lambda line: print(f"{time.monotonic() - started:7.1f}  {line}", flush=True)))
    print("\n".join(["", *report.lines(), f"The log is {folder / LOG}."]))
    raise typer.Exit(0 if report.good else 1)


if __name__ == "__main__":
    typer.run(main)
