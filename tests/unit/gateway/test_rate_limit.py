"""The rate limiter: a burst at once, then an average, for each key."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.rate_limit import RateLimiter


def test_a_burst_is_admitted_and_the_next_one_waits() -> None:
    limit = RateLimiter(per_second=10, burst=3)
    assert [limit.admit("a", 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert abs(limit.admit("a", 100.0) - 0.1) < 1e-6


def test_a_request_after_the_returned_delay_is_admitted() -> None:
    limit = RateLimiter(per_second=3, burst=2)
    now = 5.0
    for _ in range(100):
        wait = limit.admit("a", now)
        now += wait
        if wait:
            assert limit.admit("a", now) == 0.0


def test_one_key_does_not_use_up_the_rate_of_another() -> None:
    limit = RateLimiter(per_second=1, burst=1)
    assert limit.admit("a", 0.0) == 0.0
    assert limit.admit("a", 0.0) > 0
    assert limit.admit("b", 0.0) == 0.0


def test_a_rate_of_zero_is_no_limit() -> None:
    limit = RateLimiter(per_second=0, burst=1)
    assert all(limit.admit("a", 0.0) == 0.0 for _ in range(1000))
    assert len(limit) == 0


def test_idle_keys_are_removed() -> None:
    limit = RateLimiter(per_second=1000, burst=1)
    for number in range(20_000):
        limit.admit(str(number), float(number))
    assert len(limit) <= 4096


@given(
    per_second=st.floats(0.5, 100),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 2), max_size=200),
)
def test_no_more_is_ever_admitted_than_burst_and_average(per_second: float, burst: int, gaps: list[float]) -> None:
    limit = RateLimiter(per_second, burst)
    now = 0.0
    admitted = 0
    for gap in gaps:
        now += gap
        admitted += limit.admit("a", now) == 0.0
        assert admitted <= burst + now * per_second + 1e-3
