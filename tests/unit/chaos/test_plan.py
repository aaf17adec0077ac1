"""The plan of a run."""

import pytest

from tests.chaos.plan import LINK_DEEDS, LINKS, PARTS, PROCESS_DEEDS, Deed, plan


def test_the_same_seed_gives_the_same_plan_and_another_another() -> None:
    first = plan(7, 60, every=2.0, ack_wait=5.0)
    assert first == plan(7, 60, every=2.0, ack_wait=5.0)
    assert first != plan(8, 60, every=2.0, ack_wait=5.0)


@pytest.mark.parametrize("seed", range(20))
def test_every_part_is_killed_first_and_everything_fits_its_target(seed: int) -> None:
    disruptions = plan(seed, 120, every=2.0, ack_wait=5.0)
    first = disruptions[: len(PARTS)]
    assert {(each.deed, each.target) for each in first} == {(Deed.KILL, part) for part in PARTS}
    for each in disruptions:
        assert each.target in (LINKS if each.deed in LINK_DEEDS else PARTS)
        assert (each.duration > 0) == (each.deed in (Deed.PAUSE, Deed.CUT, Deed.STALL, Deed.DELAY))
    assert [each.at for each in disruptions] == sorted(each.at for each in disruptions)
    assert all(0 < each.at < 120 for each in disruptions)


def test_a_long_run_does_everything_to_everyone() -> None:
    done = {(each.deed, each.target) for each in plan(1, 36_000, every=2.0, ack_wait=5.0)}
    assert done == {(deed, part) for deed in PROCESS_DEEDS for part in PARTS} | {
        (deed, link) for deed in LINK_DEEDS for link in LINKS
    }
