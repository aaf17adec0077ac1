"""The doctor compares the clocks of the services' machines."""

import time
from pathlib import Path

import pytest

from parley.runtime.health import HealthServer
from parley_cli.doctor import services_check
from parley_cli.doctor import target as targets
from parley_cli.doctor.report import Report


def problems(report: Report) -> list[str]:
    return [finding.text for finding in report.findings if finding.level == "problem"]


def test_two_services_are_compared_with_each_other_too() -> None:
    report = Report("clocks")
    services_check.compare(report, {"gateway": -6.0, "push": 6.0})
    assert problems(report) == ["The clock of push is 12 s ahead of that of gateway."]


def test_ten_seconds_are_allowed_for() -> None:
    report = Report("clocks")
    services_check.compare(report, {"gateway": 0.0, "push": 10.0})
    assert [finding.level for finding in report.findings] == ["ok"]


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(0.0, []), (-30.0, ["ahead of that of this machine"]), (30.0, ["this machine is 30 s ahead"])],
)
async def test_the_clocks_of_services_are_compared(tmp_path: Path, offset: float, expected: list[str]) -> None:
    async def ready() -> dict[str, str]:
        return {}

    async with HealthServer("127.0.0.1", 0, ready) as server:
        assert server.port is not None
        target = targets.find_target(tmp_path, {}, {"gateway": ("127.0.0.1", server.port)})
        report = await services_check.check(target, lambda: time.time() + offset)
    found = problems(report)
    assert len(found) == len(expected)
    assert all(part in text for part, text in zip(expected, found, strict=True))
