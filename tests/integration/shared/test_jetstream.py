"""Looking at JetStream when it answers in part, or not at all."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import psutil
import pytest

from parley.contracts import streams, subjects
from parley.runtime import bus, jetstream
from parley.runtime.jetstream import NOBODY, Needs
from parley.runtime.provision import provision
from parley_tools.chaos.cluster import Cluster
from parley_tools.stack.log import CombinedLog
from tests.support.waiting import eventually

NEEDS = Needs(streams=(streams.CHAT,), publishes=(subjects.prompt_submitted(NOBODY),))


@pytest.mark.timeout(180)
async def test_a_cluster_without_a_majority_is_told_and_then_well_again(tmp_path: Path) -> None:
    async with Cluster(tmp_path, CombinedLog(io.StringIO(), colour=False)) as cluster:
        nc = await bus.connect(cluster.url.rpartition(",")[2], name="test")
        paused: list[psutil.Process] = []
        try:
            await provision(nc, replicas=3)

            async def is_well() -> bool:
                return await jetstream.check(nc, NEEDS) is None

            await eventually(is_well, deadline=60)
            stored = (await nc.jetstream().stream_info("CHAT")).state.messages
            for process in list(cluster.processes.values())[:2]:
                assert process.pid is not None
                parent = psutil.Process(process.pid)
                paused += [parent, *parent.children(recursive=True)]
            for one in paused:
                one.send_signal(signal.SIGSTOP)

            async def is_told() -> bool:
                problem = await jetstream.check(nc, NEEDS)
                return problem is not None and problem.startswith("JetStream does not answer about ")

            await eventually(is_told, deadline=60)
            for one in paused:
                one.send_signal(signal.SIGCONT)
            await eventually(is_well, deadline=60)
            assert (await nc.jetstream().stream_info("CHAT")).state.messages == stored, "looking stores nothing"
        finally:
            for one in paused:
                one.send_signal(signal.SIGCONT)
            await nc.close()
