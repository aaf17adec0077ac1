"""The plan of a run."""

import pytest

from tests.chaos.plan import LINK_FAULTS, LINKS, PARTS, PROCESS_FAULTS, FaultKind, plan


def test_the_same_seed_gives_the_same_plan_and_another_another() -> None:
    first = plan(7, 60, every=2.0, ack_wait=5.0)
    assert first == plan(7, 60, every=2.0, ack_wait=5.0)
    assert first != plan(8, 60, every=2.0, ack_wait=5.0)


@pytest.mark.parametrize("seed", range(20))
def test_every_part_is_killed_first_and_everything_fits_its_target(seed: int) -> None:
    planned = plan(seed, 120, every=2.0, ack_wait=5.0)
    first = planned[: len(PARTS)]
    assert {(each.kind, each.target) for each in first} == {(FaultKind.KILL, part) for part in PARTS}
    for each in planned:
        assert each.target in (LINKS if each.kind in LINK_FAULTS else PARTS)
        assert (each.duration > 0) == (each.kind in (FaultKind.PAUSE, FaultKind.CUT, FaultKind.STALL, FaultKind.DELAY))
    assert [each.at for each in planned] == sorted(each.at for each in planned)
    assert all(0 < each.at < 120 for each in planned)


def test_a_long_run_does_everything_to_everyone() -> None:
    done = {(each.kind, each.target) for each in plan(1, 36_000, every=2.0, ack_wait=5.0)}
    assert done == {(kind, part) for kind in PROCESS_FAULTS for part in PARTS} | {
        (kind, link) for kind in LINK_FAULTS for link in LINKS
    }
