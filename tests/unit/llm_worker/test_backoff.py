"""Waits grow, are spread out, and respect what the other side asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_worker import backoff


def upper(low: float, high: float) -> float:
    return high


def lower(low: float, high: float) -> float:
    return low


def test_the_longest_wait_doubles_up_to_a_limit() -> None:
    waits = [backoff.delay(tries, first=0.5, longest=4.0, rand=upper) for tries in range(1, 7)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_the_shortest_wait_is_half_of_the_longest() -> None:
    assert backoff.delay(5, rand=lower) == 4.0


@given(st.integers(1, 1000), st.floats(0, 100))
def test_retry_after_is_never_undercut_nor_much_exceeded(tries: int, asked: float) -> None:
    assert asked <= backoff.delay(tries, at_least=asked) <= max(asked * 1.1, backoff.LONGEST) + 1e-9


@pytest.mark.parametrize("asked", [0.0, 0.001, 1.0])
def test_the_wait_grows_whatever_little_is_asked_for(asked: float) -> None:
    waits = [backoff.delay(tries, at_least=asked, rand=lower) for tries in range(1, 6)]
    assert waits == [max(asked, 0.25 * 2**tries) for tries in range(5)]


@given(st.integers(1, 10_000))
def test_no_number_of_tries_is_too_much(tries: int) -> None:
    assert 0.25 <= backoff.delay(tries) <= backoff.LONGEST
