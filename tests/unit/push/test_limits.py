import pytest

from push.errors import TooMany
from push.limits import Count, FrameRate


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
