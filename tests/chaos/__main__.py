"""``python -m tests.chaos``, which ``make chaos`` runs."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from parley_cli import output
from parley_cli.embedded.errors import EmbeddedError
from parley_cli.stack.errors import StackError
from tests.chaos.report import Report
from tests.chaos.run import LOG, RunOptions, run


def main(
    *,
    minutes: Annotated[float, typer.Option(help="for how long faults are injected")] = 10.0,
    seed: Annotated[int | None, typer.Option(help="of the faults; default: a random one, which is printed")] = None,
    users: Annotated[int, typer.Option(help="users who send messages at the same time")] = 8,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="between two faults, on average")] = 4.0,
    ack_wait: Annotated[float, typer.Option(metavar="SECONDS", help="until a takeover")] = 5.0,
    replicas: Annotated[int, typer.Option(help="of each service")] = 2,
    cluster: Annotated[bool, typer.Option("--cluster", help="three nats-servers; the leader is killed")] = False,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="keep data and log there; default: only after a failure")
    ] = None,
) -> None:
    """Inject faults into every part of a stack under load, then check that no invariant was violated."""
    logging.getLogger("parley").setLevel(logging.ERROR)
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = keep or Path(tempfile.mkdtemp(prefix="parley-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    options = RunOptions(
        seconds=minutes * 60,
        seed=seed,
        folder=folder.absolute(),
        users=users,
        every=every,
        ack_wait=ack_wait,
        replicas=replicas,
        cluster=cluster,
    )
    print(f'make chaos ARGS="--minutes {minutes:g} --seed {seed}{" --cluster" * cluster}"', flush=True)
    report: Report | None = None
    try:
        report = _run(options)
    except (StackError, EmbeddedError) as error:
        print(f"parley: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    finally:
        if report is not None and report.good and keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"The log is {folder / LOG}.")
    print()
    print("\n".join(report.lines()))
    raise typer.Exit(0 if report.good else 1)


def _run(options: RunOptions) -> Report:
    started = time.monotonic()
    with output.progress("chaos", options.seconds) as update:

        def on_progress(line: str) -> None:
            print(f"{time.monotonic() - started:7.1f}  {line}", flush=True)
            update("")

        return asyncio.run(run(options, on_progress))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(main)
    app(prog_name="make chaos ARGS=")
