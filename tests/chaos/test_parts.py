"""Everything is killed, and nothing is lost."""

from pathlib import Path

import pytest

from parley_tools.chaos.plan import PARTS
from parley_tools.chaos.run import RunOptions
from tests.chaos.carried_out import SEED, carried_out


@pytest.mark.timeout(420)
async def test_every_part_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    report = await carried_out(RunOptions(seconds=45, seed=SEED, folder=tmp_path, users=4, every=4.0))
    kills = report.saboteur.kills()
    assert all(kills[part] for part in PARTS)
