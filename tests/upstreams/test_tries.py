"""The way of one call through its plan: where next, how often, and when no more."""

import pytest

from app.upstream_errors import UpstreamBusy, UpstreamUnavailable
from app.upstreams.failure import Verdict, of_answer, of_failure
from app.upstreams.health import Health
from app.upstreams.routing import Plan, Target, Upstream
from app.upstreams.target_health import HealthRules, TargetHealth
from app.upstreams.tries import Next, Tries, TryRules, nowhere

LOST = of_failure("lost")
NOT_SENT = of_failure("not_sent")


def status(code: int, **more: float) -> Verdict:
    verdict = of_answer(code, **more)  # type: ignore[arg-type]
    assert verdict is not None
    return verdict


class _Unheard:
    def changed(self, target: TargetHealth) -> None:
        """Nobody listens."""

    def ended(self, upstream: str, outcome: str) -> None:
        """Nobody listens."""


def target(name: str, model: str = "m", **fields: int) -> Target:
    return Target(Upstream(name, f"http://{name}.test/v1", "key", models=("*",), **fields), model)  # type: ignore[arg-type]


def health() -> Health:
    return Health(HealthRules(), lambda: 0.5, _Unheard())


def tries(
    *targets: Target,
    known: Health | None = None,
    attempts_max: int = 3,
    sdk: int | None = None,
    deadline: float = 100.0,
) -> Tries:
    rules = TryRules(attempts_max, sdk, deadline)
    return Tries(Plan(targets), known or health(), rules, lambda: 0.5)


A, B, C = target("a", priority=0), target("b", priority=1), target("c", priority=2)


def test_other_upstreams_come_first_without_a_pause_and_then_the_last_one_again() -> None:
    call = tries(A, B)
    begun = call.begin(0.0)
    assert begun is not None
    assert begun[0] == A
    assert call.next(A, LOST, None, 0.0) == Next(B, 0.0, is_again=False)
    assert call.begin_at(B, 0.0) is not None
    then = call.next(B, LOST, None, 0.0)
    assert then is not None
    assert (then.target, then.is_again) == (B, True)
    assert then.pause_seconds > 0


@pytest.mark.parametrize("verdict", [status(400), status(413), of_failure("lost", is_after_head=True)])
def test_what_must_not_be_repeated_is_not(verdict: Verdict) -> None:
    call = tries(A, B)
    call.begin(0.0)

    assert call.next(A, verdict, None, 0.0) is None


def test_what_is_wrong_with_one_upstream_only_is_not_asked_of_it_again() -> None:
    call = tries(A)
    call.begin(0.0)

    assert call.next(A, status(401), None, 0.0) is None
    assert call.next(A, status(404), None, 0.0) is None


def test_one_upstream_sees_a_call_three_times_at_most_and_then_its_sdk_is_told_to_stop() -> None:
    call = tries(A)
    call.begin(0.0)
    assert not call.forbids_sdk_retry
    for _ in range(2):
        then = call.next(A, status(500), None, 0.0)
        assert then is not None
        assert call.begin_at(A, 0.0, is_again=True) is not None
        assert call.forbids_sdk_retry
    assert call.next(A, status(500), None, 0.0) is None


def test_a_call_that_its_sdk_repeats_goes_to_each_upstream_once() -> None:
    call = tries(A, B, sdk=1)
    call.begin(0.0)
    assert call.next(A, status(500), None, 0.0) == Next(B, 0.0, is_again=False)
    call.begin_at(B, 0.0)
    assert call.next(B, status(500), None, 0.0) is None
    assert not call.forbids_sdk_retry


def test_nothing_begins_after_the_deadline_and_no_pause_goes_beyond_it() -> None:
    call = tries(A, B, deadline=10.0)
    call.begin(0.0)
    assert call.next(A, LOST, None, 10.0) is None
    alone = tries(A, deadline=10.0)
    alone.begin(0.0)
    assert alone.next(A, status(429, retry_after_seconds=4.0), 4.0, 7.0) is None
    assert alone.next(A, status(429, retry_after_seconds=2.0), 2.0, 7.0) is not None


@pytest.mark.parametrize(("closed_seconds", "is_waited_for"), [(4.0, True), (30.0, False)])
def test_an_upstream_that_is_left_alone_for_long_is_not_waited_for(closed_seconds: float, is_waited_for: bool) -> None:
    known = health()
    call, other = tries(A, known=known), tries(A, known=known)
    call.begin(0.0)
    begun = other.begin(0.0)
    assert begun is not None
    begun[1].failed(status(429, retry_after_seconds=closed_seconds), 0.0, closed_seconds)

    then = call.next(A, status(500), None, 0.0)

    assert (then is not None) is is_waited_for
    if then is not None:
        assert then.pause_seconds >= closed_seconds


def test_what_was_ready_a_moment_ago_may_not_be_any_more() -> None:
    known = health()
    call = tries(A, B, known=known)
    call.begin(0.0)
    known.force({("b", "m"): "open"}, 0.0)
    assert known.standing(B, 0.0).kind == "open"

    assert call.begin_at(B, 0.0) is None
    assert not call.has_elsewhere(0.0)


def test_there_is_an_elsewhere_while_another_upstream_is_ready() -> None:
    call = tries(A, B)
    call.begin(0.0)
    assert call.is_choice
    assert call.has_elsewhere(0.0)
    assert not tries(A).is_choice


def test_a_call_for_which_every_breaker_is_open_is_told_when_to_come_back() -> None:
    known = health()
    known.force({("a", "m"): "open"}, 0.0)
    call = tries(A, known=known)

    assert call.begin(0.0) is None
    error = nowhere(call.order(0.0), 0.0)

    assert isinstance(error, UpstreamUnavailable)
    assert (error.status, error.headers["retry-after"]) == (503, "60")
    assert "'a'" in error.message


def test_a_call_for_which_every_upstream_cools_down_is_told_that_it_is_too_much() -> None:
    known = health()
    first = tries(A, known=known)
    begun = first.begin(0.0)
    assert begun is not None
    begun[1].failed(status(429, retry_after_seconds=7.5), 0.0, 7.5)
    call = tries(A, known=known)

    assert call.begin(0.0) is None
    error = nowhere(call.order(0.0), 0.0)

    assert isinstance(error, UpstreamBusy)
    assert (error.status, error.headers["retry-after"]) == (429, "8")


def test_a_fallback_model_comes_after_every_upstream_of_the_model_that_was_asked_for() -> None:
    other = target("a", "other", priority=0)
    call = tries(B, other)

    assert [each.model for each in call.order(0.0).targets] == ["m", "other"]
    call.begin(0.0)
    assert call.next(B, NOT_SENT, None, 0.0) == Next(other, 0.0, is_again=False)
