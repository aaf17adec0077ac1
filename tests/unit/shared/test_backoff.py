"""Delays between retries grow up to a limit, and are spread by jitter."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.runtime.backoff import Backoff


def test_the_upper_bound_doubles_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next_delay() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_jitter_takes_away_at_most_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: low)
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next_delay() for _ in range(3)] == [0.25, 0.5, 1.0]


def test_a_reset_starts_again_at_the_first_delay() -> None:
    backoff = Backoff(0.1, 5.0)
    for _ in range(10):
        backoff.next_delay()
    backoff.reset()
    assert 0.05 <= backoff.next_delay() <= 0.1


@given(st.integers(1, 2000))
def test_no_number_of_retries_exceeds_the_limit(retries: int) -> None:
    backoff = Backoff(0.5, 20.0)
    for _ in range(retries):
        assert 0.25 <= backoff.next_delay() <= 20.0
