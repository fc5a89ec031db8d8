"""Retries of the same upstream: how many there may be, and after what pause."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstreams.retry_budget import (
    RetryBudget,
    attempts_allowed,
    backoff_seconds,
    fits,
    forbids_sdk_retry,
    repeats_silently,
)

SDK_TRIES = 3


def test_a_burst_of_retries_is_bounded() -> None:
    budget = RetryBudget(20, 0.0, now=0.0)

    assert [budget.spend(0.0) for _ in range(12)] == [True] * 10 + [False] * 2


def test_time_brings_a_few_retries_to_an_upstream_without_calls() -> None:
    budget = RetryBudget(20, 0.2, now=0.0)
    while budget.spend(0.0):
        pass

    assert not budget.spend(4.9)
    assert budget.spend(5.0)
    assert budget.tokens(1e6) == 10.0


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 3)), max_size=300), st.integers(0, 100))
def test_retries_never_add_more_than_their_part(calls: list[tuple[float, int]], percent: int) -> None:
    budget = RetryBudget(percent, 0.2, now=0.0)
    now, retries = 0.0, 0
    for pause, wanted in calls:
        now += pause
        budget.deposit()
        retries += sum(budget.spend(now) for _ in range(wanted))

    assert retries <= 10 + len(calls) * percent / 100 + now * 0.2 + 1e-6


@pytest.mark.parametrize("attempts_max", [1, 2, 3])
def test_an_upstream_that_always_fails_sees_one_sdk_call_three_times_at_most(attempts_max: int) -> None:
    # In each of its tries Weir gets as far as it may, or less far when the retry budget is empty.
    for made in product(range(1, attempts_max + 1), repeat=SDK_TRIES):
        seen = 0
        for sdk_retry_count, wanted in enumerate(made):
            attempts = min(wanted, attempts_allowed(sdk_retry_count, attempts_max))
            seen += attempts
            if forbids_sdk_retry(attempts):
                break
        assert seen <= 3


def test_a_call_of_no_sdk_is_tried_as_often_as_is_set() -> None:
    assert attempts_allowed(None, 3) == attempts_allowed(0, 3) == 3
    assert attempts_allowed(1, 3) == 1


def test_an_sdk_that_says_nothing_of_its_retries_is_known_by_its_name() -> None:
    assert repeats_silently("ai-sdk/openai/3.0.10 ai/6.0.326 ai-sdk/provider-utils/4.0.1 runtime/node.js/v20")
    assert not repeats_silently("OpenAI/Python 3.54.0")


def test_pauses_double_below_a_ceiling_and_come_after_what_the_upstream_asks_for() -> None:
    ceilings = [backoff_seconds(attempt, None, lambda: 1.0) for attempt in range(1, 8)]

    assert ceilings == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert backoff_seconds(1, None, lambda: 0.0) == 0.0
    assert backoff_seconds(2, 3.0, lambda: 0.5) == 3.25


def test_a_pause_that_takes_all_that_is_left_does_not_fit() -> None:
    assert fits(1.0, 10.0, 11.1)
    assert not fits(1.0, 10.0, 11.0)
