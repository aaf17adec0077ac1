"""Everything is killed, and nothing is lost: the short runs of ``make chaos``."""

from pathlib import Path

import pytest

from parley_tools.chaos.plan import PARTS
from parley_tools.chaos.report import Report
from parley_tools.chaos.run import LOG, RunOptions, run

SEED = 4
pytestmark = pytest.mark.timeout(420)


async def carried_out(options: RunOptions) -> Report:
    """Run, and fail with all that is known unless every promise was kept."""
    report = await run(options, print)
    told = "\n".join(report.lines())
    print(told)
    log = (options.folder / LOG).read_text(errors="replace")
    assert report.good, f"{told}\n--- the last of the log ---\n{log[-20_000:]}"
    assert report.findings.witnessed > 0
    return report


async def test_every_part_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    report = await carried_out(RunOptions(seconds=45, seed=SEED, folder=tmp_path, users=4, every=4.0))
    kills = report.saboteur.kills()
    assert all(kills[part] for part in PARTS)


async def test_the_leader_of_a_cluster_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    report = await carried_out(RunOptions(seconds=45, seed=SEED, folder=tmp_path, users=3, every=4.0, cluster=True))
    assert report.saboteur.kills()["nats-server"] >= 2
