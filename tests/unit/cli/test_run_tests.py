"""``make test`` runs several tiers at once, and loses none."""

import threading
from pathlib import Path

import pytest
from scripts import run_tests
from scripts.run_tests import AT_ONCE, Outcome, Tier, TierRun, run_at_once, summarise


class _Run(TierRun):
    """A tier whose tests end once ``enough`` others have started."""

    started: list[str]
    running: int
    lock = threading.Lock()

    def __init__(self, tier: Tier, folder: Path, enough: threading.Event | None = None) -> None:
        super().__init__(tier, [], folder, None)
        self._enough = enough

    def run(self) -> None:
        with self.lock:
            _Run.started.append(self.tier.name)
            _Run.running += self.tier.processes
            assert _Run.running <= AT_ONCE
        if self._enough is not None:
            assert self._enough.wait(20)
        with self.lock:
            _Run.running -= self.tier.processes


@pytest.fixture(autouse=True)
def _nothing_runs() -> None:
    _Run.started, _Run.running = [], 0


def test_a_tier_starts_in_its_turn_once_there_is_room(tmp_path: Path) -> None:
    room = threading.Event()
    first = _Run(Tier("first", processes=AT_ONCE - 1), tmp_path, room)
    small = _Run(Tier("small", processes=1), tmp_path)
    large = _Run(Tier("large", processes=AT_ONCE), tmp_path)
    last = _Run(Tier("last", processes=1), tmp_path)
    threading.Timer(0.05, room.set).start()
    run_at_once([first, small, large, last])
    assert sorted(_Run.started[:2]) == ["first", "small"]
    assert _Run.started[2:] == ["large", "last"]


def test_an_error_of_the_runner_is_raised_and_the_other_tiers_run(tmp_path: Path) -> None:
    class Broken(_Run):
        def run(self) -> None:
            raise OSError("no more processes")

    with pytest.raises(OSError, match="no more processes"):
        run_at_once([Broken(Tier("broken", processes=AT_ONCE), tmp_path), _Run(Tier("other", processes=1), tmp_path)])
    assert _Run.started == ["other"]


def test_every_tier_fits_in() -> None:
    assert all(tier.processes <= AT_ONCE for tier in run_tests.TIERS)


def test_a_tier_without_tests_fails_the_run_and_the_counts_go_to_the_file_that_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts = tmp_path / "counts"
    monkeypatch.setenv("TEST_COUNTS", str(counts))
    assert summarise({"unit": Outcome(passed=2), "chaos": Outcome(failed=1, note="no test was found")}) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 passed, 1 failed"
    assert counts.read_text() == "2 1 0\n"
