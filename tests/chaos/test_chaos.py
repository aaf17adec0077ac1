"""Everything is killed, and nothing is lost: the short run of ``make chaos``."""

from pathlib import Path

import pytest

from parley_tools.chaos.plan import SERVERS, SERVICES
from parley_tools.chaos.run import LOG, RunOptions, run

SEED = 4


@pytest.mark.timeout(420)
async def test_every_part_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    options = RunOptions(seconds=40, seed=SEED, folder=tmp_path, users=4, every=4.0)
    report = await run(options, print)
    told = "\n".join(report.lines())
    print(told)
    log = (tmp_path / LOG).read_text(errors="replace")
    assert report.good, f"{told}\n--- the last of the log ---\n{log[-20_000:]}"
    kills = report.saboteur.kills()
    assert all(kills[part] for part in (*SERVICES, *SERVERS))
    assert report.findings.witnessed > 0
