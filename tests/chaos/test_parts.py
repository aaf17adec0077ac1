"""Every part is killed, and nothing is lost."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.invariants import check
from tests.chaos.plan import PARTS
from tests.chaos.progress import Progress
from tests.chaos.report import Report
from tests.chaos.run import RunOptions
from tests.chaos.run_and_check import SEED, run_and_check


@pytest.mark.timeout(420)
async def test_every_part_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    report = await run_and_check(RunOptions(seconds=45, seed=SEED, folder=tmp_path, users=4, every=4.0))
    kills = report.injector.kills()
    assert all(kills[part] for part in PARTS)
    _assert_planted_faults_are_found(report)


def _assert_planted_faults_are_found(report: Report) -> None:
    """Check the same run with one row changed: each change must be found."""
    messages = report.stored.messages
    key, answer = next(
        item for item in messages.items() if item[1].role == "assistant" and item[1].status == "complete"
    )
    planted = {
        "duplicated": {**messages, (answer.chat_id, "second"): replace(answer, id="second")},
        "failed": {**messages, key: replace(answer, status="failed", error="internal")},
        "unfinished": {**messages, key: replace(answer, status="streaming")},
        "lost": {key: row for key, row in messages.items() if key[1] != answer.parent_id},
    }
    for kind, rows in planted.items():
        findings = check(
            report.history,
            replace(report.stored, messages=rows),
            (),
            faults=(),
            progress=Progress(),
            now=time.time(),
        )
        assert getattr(findings, kind), kind
        assert not replace(report, findings=findings).good, kind
