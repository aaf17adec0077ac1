"""``python -m tests.chaos``, which ``make chaos`` runs."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from parley_cli.embedded.errors import EmbeddedError
from parley_cli.stack.errors import StackError
from tests.chaos.report import Report
from tests.chaos.run import LOG, RunOptions, run


def main() -> int:
    """Carry out a run; return 0 when nothing was lost."""
    parser = argparse.ArgumentParser(prog="make chaos ARGS=", description="Kill everything, lose nothing.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long things are broken (default 10)")
    parser.add_argument("--seed", type=int, help="of what happens when; by default drawn, and told")
    parser.add_argument("--users", type=int, default=8, help="who talk at the same time (default 8)")
    parser.add_argument("--every", type=float, default=4.0, metavar="SECONDS", help="between two deeds (default 4)")
    parser.add_argument("--ack-wait", type=float, default=5.0, metavar="SECONDS", help="until a takeover (default 5)")
    parser.add_argument("--replicas", type=int, default=2, help="of each service (default 2)")
    parser.add_argument("--cluster", action="store_true", help="three nats-servers, of which the leader is struck")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where data and log stay; by default, nowhere")
    arguments = parser.parse_args()
    logging.getLogger("parley").setLevel(logging.ERROR)
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1_000_000)
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="parley-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    options = RunOptions(
        seconds=arguments.minutes * 60,
        seed=seed,
        folder=folder.absolute(),
        users=arguments.users,
        every=arguments.every,
        ack_wait=arguments.ack_wait,
        replicas=arguments.replicas,
        cluster=arguments.cluster,
    )
    cluster = " --cluster" * arguments.cluster
    print(f'make chaos ARGS="--minutes {arguments.minutes:g} --seed {seed}{cluster}"', flush=True)
    started = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - started:7.1f}  {line}", flush=True)

    report: Report | None = None
    try:
        report = asyncio.run(run(options, tell))
    except (StackError, EmbeddedError) as error:
        print(f"parley: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if report is not None and report.good and arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"The log is {folder / LOG}.")
    print()
    print("\n".join(report.lines()))
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
