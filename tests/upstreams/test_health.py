"""What one process knows of upstreams: who stalls, who is full, what is forgotten, and that no call is left over."""

import pytest

from app.upstreams.breaker import BreakerRules, Opening
from app.upstreams.failure import of_answer, of_failure
from app.upstreams.health import Health
from app.upstreams.routing import Target
from app.upstreams.ticket import Ticket
from tests.upstreams.knowing import Log, make_health, make_target

ONE = make_target("one")
NOT_SENT, TIMED_OUT, BROKEN_OFF = (
    of_failure("not_sent"),
    of_failure("timed_out"),
    of_failure("lost", is_after_head=True),
)


def begin(health: Health, now: float, target: Target = ONE) -> Ticket:
    ticket = health.begin(target, now)
    assert ticket is not None
    return ticket


def answer(health: Health, now: float, seconds: float = 0.1, target: Target = ONE) -> None:
    """Send a call that is answered after *seconds*."""
    ticket = begin(health, now, target)
    ticket.head(now + seconds)
    ticket.end()


def test_a_call_is_under_way_from_its_beginning_to_its_end_and_waits_until_its_head() -> None:
    log = Log()
    health = make_health(log)
    ticket = begin(health, 1.0)
    known = health.of(ONE, 1.0)
    assert (known.in_flight, known.waiting, known.load.in_flight) == (1, 1, 1)

    ticket.head(2.0)
    assert (known.in_flight, known.waiting, known.answered_at, known.head_time.mean_seconds) == (1, 0, 2.0, 1.0)
    ticket.end()
    ticket.end()

    assert (known.in_flight, known.waiting, known.load.in_flight) == (0, 0, 0)
    assert log.outcomes == [("one", "answered")]


@pytest.mark.parametrize(
    ("status", "outcome", "calls", "failures"),
    [(400, "callers_fault", 1, 0), (404, "not_found", 0, 0), (429, "rate_limited", 0, 0), (500, "server_error", 1, 1)],
)
def test_an_answer_that_is_an_error_counts_by_its_verdict(status: int, outcome: str, calls: int, failures: int) -> None:
    log = Log()
    health = make_health(log)
    verdict = of_answer(status)
    assert verdict is not None
    ticket = begin(health, 1.0)
    ticket.failed(verdict, 2.0)
    ticket.end()

    known = health.of(ONE, 2.0)
    assert known.breaker.rates(2.0) == (calls, failures, 0)
    assert (known.answered_at, known.head_time.mean_seconds, known.in_flight) == (2.0, None, 0)
    assert log.outcomes == [("one", outcome)]


def test_a_stream_that_breaks_late_counts_as_a_failure_too() -> None:
    log = Log()
    health = make_health(log)
    ticket = begin(health, 1.0)
    ticket.head(2.0)
    ticket.failed(BROKEN_OFF, 300.0)
    ticket.end()

    assert health.of(ONE, 300.0).breaker.rates(300.0) == (1, 1, 0)
    assert log.outcomes == [("one", "broken_off")]


def test_a_caller_who_leaves_says_nothing_about_the_upstream() -> None:
    log = Log()
    health = make_health(log)
    begin(health, 1.0).end()

    assert health.of(ONE, 1.0).is_idle(1.0)
    assert log.outcomes == [("one", "abandoned")]


def test_a_call_that_found_no_connection_to_spare_says_nothing_about_the_upstream() -> None:
    health = make_health()
    ticket = begin(health, 1.0)
    ticket.failed(of_failure("no_room"), 2.0)
    ticket.end()

    known = health.of(ONE, 2.0)
    assert known.is_idle(2.0)
    assert known.answered_at is None


def test_a_head_that_takes_too_long_is_slow() -> None:
    health = make_health(slow_call_seconds=5.0)
    answer(health, 1.0, seconds=5.0)
    answer(health, 1.0, seconds=5.1)

    assert health.of(ONE, 6.1).breaker.rates(6.1) == (2, 0, 1)


def test_an_upstream_that_never_answers_is_stalled_once_several_calls_wait() -> None:
    health = make_health()
    begin(health, 1.0)
    begin(health, 1.0)
    assert health.standing(ONE, 100.0).kind == "ready"
    late = begin(health, 100.0)

    standing = health.standing(ONE, 100.0)
    assert (standing.kind, standing.until, standing.in_flight) == ("stalled", 100.0, 3)
    late.head(100.2)
    assert health.standing(ONE, 100.2).kind == "ready"


def test_how_long_it_may_be_silent_is_learned_from_its_answers() -> None:
    health = make_health()
    for second in range(100):
        answer(health, second * 1.0, seconds=10.0)
    for _ in range(3):
        begin(health, 200.0)

    assert health.of(ONE, 200.0).patience_seconds() == pytest.approx(10.0, abs=0.1)
    assert health.standing(ONE, 209.9).kind == "ready"
    assert health.standing(ONE, 210.1).kind == "stalled"


def test_any_answer_ends_the_silence() -> None:
    health = make_health()
    answer(health, 0.0, seconds=0.01)
    tickets = [begin(health, 1.0) for _ in range(5)]
    refused = of_answer(429)
    assert refused is not None
    tickets[0].failed(refused, 1.6, 0.0)

    assert health.standing(ONE, 1.7).kind == "ready"
    assert health.standing(ONE, 2.2).kind == "stalled"


def test_one_that_never_answered_may_be_as_silent_as_others_are_for_the_same_model() -> None:
    health = make_health()
    other, elsewhere = make_target("two"), make_target("one", "gpt-5")
    for second in range(100):
        answer(health, second * 1.0, seconds=10.0, target=other)
    for _ in range(3):
        begin(health, 200.0)
        begin(health, 200.0, elsewhere)

    assert health.standing(ONE, 205.0).kind == "ready"
    assert health.standing(elsewhere, 205.0).kind == "stalled"


def test_a_call_is_stranded_where_it_has_waited_and_nothing_was_heard_for_even_longer() -> None:
    health = make_health()
    answer(health, 0.0, seconds=0.01)
    first, second = begin(health, 1.0), begin(health, 1.25)
    assert first.stranded_at(1.5) == 2.25  # as long as there are only few, for as long as these wait
    assert not first.is_stranded(100.0)
    third = begin(health, 1.5)
    assert [ticket.stranded_at(1.5) for ticket in (first, second, third)] == [1.75, 1.75, 2.0]

    assert [ticket.is_stranded(1.75) for ticket in (first, second, third)] == [True, True, False]
    first.failed(TIMED_OUT, 1.75)
    first.end()
    assert not first.is_stranded(2.0)
    assert [ticket.is_stranded(2.0) for ticket in (second, third)] == [True, True]
    second.head(2.25)
    assert [ticket.is_stranded(1_000.0) for ticket in (second, third)] == [False, False]


def test_calls_at_once_are_bounded_over_all_models() -> None:
    small, other = make_target("one", calls_at_once=2), make_target("one", "gpt-5", calls_at_once=2)
    health = make_health()
    first = begin(health, 1.0, small)
    begin(health, 1.0, other)

    assert health.begin(small, 1.0) is None
    standing = health.standing(other, 1.0)
    assert (standing.kind, standing.until) == ("full", 2.0)
    first.end()
    assert health.standing(other, 1.0).kind == "ready"


def test_requests_per_minute_are_bounded_and_it_is_known_when_there_is_room_again() -> None:
    small = make_target(requests_per_minute=3)
    health = make_health()
    for now in (0.5, 20.0, 20.5):
        begin(health, now, small).end()

    standing = health.standing(small, 30.0)
    assert (standing.kind, standing.until) == ("full", 60.0)
    assert health.begin(small, 59.9) is None
    begin(health, 60.0, small).end()
    assert health.standing(small, 60.0).until == 80.0


def test_processes_share_the_limits_of_an_upstream() -> None:
    small = make_target(calls_at_once=5)
    health = make_health()
    health.processes = 2
    begin(health, 1.0, small)
    begin(health, 1.0, small)
    assert health.begin(small, 1.0) is None

    health.processes = 100
    assert health.begin(make_target("two", calls_at_once=5), 1.0) is not None


def test_trying_again_spends_the_budget_of_that_upstream_alone() -> None:
    health = make_health(retries_per_second=0.0)
    again = [health.begin(ONE, 1.0, is_again=True) for _ in range(11)]

    assert [ticket is not None for ticket in again] == [True] * 10 + [False]
    assert health.begin(ONE, 1.0) is not None
    assert health.begin(make_target("two"), 1.0, is_again=True) is not None
    assert {load.upstream.name: load.retry_budget.tokens(1.0) for load in health.loads()} == {"one": 0.2, "two": 9.0}


def test_what_is_open_or_cools_down_gets_no_call_and_no_budget_is_spent_on_it() -> None:
    log = Log()
    health = make_health(log)
    for _ in range(3):
        begin(health, 1.0).failed(NOT_SENT, 1.0)
    cooling = make_target("two")
    limited = of_answer(429)
    assert limited is not None
    begin(health, 1.0, cooling).failed(limited, 1.0, 7.0)

    assert health.begin(ONE, 1.0, is_again=True) is None
    standing = health.standing(cooling, 2.0)
    assert (health.standing(ONE, 2.0).kind, standing.kind, standing.until) == ("open", "cooling_down", 8.0)
    assert log.changes == [("one", ONE.model, "open"), ("two", ONE.model, "closed")]
    assert next(iter(health.loads())).retry_budget.tokens(1.0) == 10.0


def test_an_upstream_that_is_reached_by_other_means_is_a_new_one() -> None:
    health = make_health(breaker=BreakerRules(silent_calls_max=1))
    begin(health, 1.0).failed(TIMED_OUT, 2.0)
    assert health.begin(make_target("one", weight=1), 2.0) is None

    assert health.begin(make_target("one", api_key="sk-2"), 2.0) is not None


def test_changed_limits_of_an_upstream_hold_at_once() -> None:
    health = make_health()
    begin(health, 1.0)

    assert health.begin(make_target("one", calls_at_once=1), 1.0) is None


def test_the_least_recently_used_idle_model_is_forgotten_first() -> None:
    health = make_health()
    busy = begin(health, 0.0, make_target("one", "busy"))
    for index in range(1_200):
        begin(health, 0.0, make_target("one", f"model-{index}")).end()

    known = {known.model for known in health.targets()}
    assert len(known) == 1_000
    assert "busy" in known
    assert "model-0" not in known
    assert "model-1199" in known
    busy.end()


def test_memory_is_bounded_even_if_every_model_is_busy() -> None:
    health = make_health()
    tickets = [begin(health, 0.0, make_target("one", f"model-{index}")) for index in range(1_005)]

    assert health.find(("one", "model-1004")) is not None
    assert len(health.targets()) == 1_000
    for ticket in tickets:
        ticket.end()
    assert [load.in_flight for load in health.loads()] == [0]


def test_upstreams_that_are_gone_are_forgotten() -> None:
    health = make_health()
    begin(health, 0.0)
    begin(health, 0.0, make_target("two"))
    health.keep(["two"])

    assert [known.key for known in health.targets()] == [("two", ONE.model)]
    assert [load.upstream.name for load in health.loads()] == ["two"]
    assert health.find(("one", ONE.model)) is None


def test_what_an_operator_has_decided_holds_for_what_is_known_and_for_what_will_be() -> None:
    health = make_health()
    begin(health, 0.0).end()
    health.force({("one", ONE.model): "open", ("two", ONE.model): "open"}, 1.0)

    assert health.begin(ONE, 1.0) is None
    assert health.begin(make_target("two"), 1.0) is None
    health.force({}, 2.0)
    assert health.begin(ONE, 2.0) is not None


def test_a_call_that_is_not_sent_after_all_leaves_its_place_to_another() -> None:
    log = Log()
    health = make_health(log)
    limited = make_target("one", requests_per_minute=1)
    ticket = begin(health, 1.0, limited)
    assert health.begin(limited, 1.5) is None

    ticket.take_back()
    ticket.take_back()

    begin(health, 2.0, limited)
    known = health.of(limited, 2.0)
    assert (known.in_flight, known.waiting, known.load.in_flight) == (1, 1, 1)
    assert log.outcomes == []


def test_trial_calls_that_are_not_sent_after_all_keep_nobody_from_making_them() -> None:
    health = make_health()
    known = health.of(ONE, 0.0)
    known.breaker.believe(Opening(1.0, 1, "it failed", needs_probe=False), 0.0)
    for at in range(5, 9):
        begin(health, at).take_back()

    for at in range(3):
        answer(health, 9.0 + at / 10)

    assert known.breaker.state == "closed"


def test_what_a_call_waits_for_before_it_is_sent_is_not_its_upstreams_silence() -> None:
    health = make_health()
    answer(health, 0.0)
    tickets = [begin(health, 1.0) for _ in range(3)]  # and then wait, for the database say
    for ticket in tickets:
        ticket.sent(10.0)

    assert health.standing(ONE, 10.2).kind == "ready"
    assert not any(ticket.is_stranded(10.2) for ticket in tickets)

    tickets[0].head(10.1)
    assert (health.of(ONE, 10.2).head_time.mean_seconds or 10.0) < 1.0
    tickets[1].take_back()
    assert health.of(ONE, 10.2).waiting == 1
