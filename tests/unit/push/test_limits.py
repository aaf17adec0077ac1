import resource

import pytest

from push.errors import TooMany
from push.transport.limits import Count, FrameRate, sockets_that_fit


@pytest.mark.parametrize(
    ("soft", "hard", "fits", "set_to"),
    [
        (1024, 1_048_576, 20_000, 20_300),
        (1024, 4096, 3796, 4096),
        (65_536, 65_536, 20_000, None),
        (1024, resource.RLIM_INFINITY, 20_000, 20_300),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 20_000, None),
    ],
)
def test_there_are_as_many_sockets_as_the_system_gives_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, fits: int, set_to: int | None
) -> None:
    done: list[int] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: done.append(limits[0]))
    assert sockets_that_fit(20_000) == fits
    assert done == ([] if set_to is None else [set_to])


def test_a_user_has_so_many_sockets_and_others_have_theirs() -> None:
    sockets = Count(2, "sockets")
    sockets.add("ann")
    sockets.add("ann")
    sockets.add("ben")
    with pytest.raises(TooMany):
        sockets.add("ann")
    sockets.remove("ann")
    sockets.add("ann")


def test_who_has_left_is_forgotten() -> None:
    sockets = Count(1, "sockets")
    for _ in range(3):
        sockets.add("ann")
        sockets.remove("ann")
    assert sockets._counts == {}


def test_a_burst_is_let_through_and_then_a_rate() -> None:
    rate = FrameRate(10.0, 5, now=100.0)
    for _ in range(5):
        rate.take(100.0)
    with pytest.raises(TooMany):
        rate.take(100.05)
    rate.take(100.2)
    for _ in range(5):
        rate.take(200.0)
    with pytest.raises(TooMany):
        rate.take(200.0)
