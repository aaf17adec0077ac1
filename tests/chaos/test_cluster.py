"""Three nats-servers, of which the leader is killed, and nothing is lost."""

from pathlib import Path

import pytest

from tests.chaos.run import RunOptions
from tests.chaos.run_and_check import SEED, run_and_check


@pytest.mark.timeout(420)
async def test_the_leader_of_a_cluster_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    report = await run_and_check(RunOptions(seconds=45, seed=SEED, folder=tmp_path, users=3, every=4.0, cluster=True))
    assert report.injector.kills()["nats-server"] >= 2
