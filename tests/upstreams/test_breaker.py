"""The circuit breaker's own corners; tests/properties/test_breaker.py compares it with a plain model."""

from collections.abc import Callable

import pytest

from app.upstreams.breaker import Breaker, BreakerRules, Opening

RULES = BreakerRules()


class Heard:
    """How often the breaker has said that it changed."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def make(random: Callable[[], float] = lambda: 1.0, heard: Heard | None = None) -> Breaker:
    return Breaker(RULES, random, 0.0, heard or Heard())


def begin(breaker: Breaker, now: float) -> int:
    round_ = breaker.begin(now)
    assert round_ is not None
    return round_


def state(breaker: Breaker) -> str:
    return breaker.state


def silence(breaker: Breaker, now: float) -> None:
    """Open it, by calls to nobody."""
    for _ in range(RULES.silent_calls_max):
        breaker.failed(begin(breaker, now), now, "not_sent", is_silent=True)


def trip(breaker: Breaker, now: float) -> None:
    """Open it, by calls that fail."""
    for round_ in [begin(breaker, now) for _ in range(RULES.calls_min)]:
        breaker.failed(round_, now, "server_error")


def test_it_opens_at_the_rate_and_not_below_the_volume() -> None:
    breaker = make()
    for _ in range(4):
        breaker.succeeded(begin(breaker, 1.0), 1.0)
    for _ in range(5):
        breaker.failed(begin(breaker, 1.0), 1.0, "server_error")
    assert state(breaker) == "closed"
    breaker.succeeded(begin(breaker, 1.0), 1.0)
    assert breaker.rates(1.0) == (10, 5, 0)

    breaker.failed(begin(breaker, 1.0), 1.0, "server_error")

    assert state(breaker) == "open"
    assert breaker.why == "6 of 11 calls failed, the last: server_error"
    assert breaker.begin(1.0) is None


def test_few_failures_among_many_calls_do_not_open_it() -> None:
    breaker = make()
    for index in range(100):
        if index % 3:
            breaker.succeeded(begin(breaker, 1.0), 1.0, is_slow=index % 2 == 0)
        else:
            breaker.failed(begin(breaker, 1.0), 1.0, "server_error")

    assert state(breaker) == "closed"


def test_failures_of_long_ago_do_not_count() -> None:
    breaker = make()
    for second in range(30):
        breaker.failed(begin(breaker, second * 2.0), second * 2.0, "server_error")

    assert state(breaker) == "closed"


def test_answers_that_are_slow_open_it_too() -> None:
    breaker = make()
    for index in range(10):
        breaker.succeeded(begin(breaker, 1.0), 1.0, is_slow=index >= 2)

    assert (state(breaker), breaker.why) == ("open", "8 of 10 answers were slow")


def test_nobody_there_opens_it_at_once_and_only_a_probe_makes_it_half_open() -> None:
    breaker = make()
    silence(breaker, 1.0)
    assert breaker.why == "3 calls in a row without an answer: not_sent"
    assert (breaker.until, breaker.needs_probe, breaker.wants_probe(5.9)) == (6.0, True, False)
    breaker.probed(5.9, is_answered=True)  # nobody asked for it

    assert breaker.begin(1_000.0) is None
    assert breaker.ready_at(1_000.0) == 1_001.0
    assert breaker.wants_probe(1_000.0)
    breaker.probed(1_000.0, is_answered=False)
    assert (breaker.until, breaker.wants_probe(1_000.0)) == (1_010.0, False)
    breaker.probed(1_010.0, is_answered=True)

    assert breaker.begin(1_010.0) is not None
    assert state(breaker) == "half_open"


def test_an_answer_in_between_is_a_sign_of_life() -> None:
    breaker = make()
    for _ in range(3):
        breaker.failed(begin(breaker, 1.0), 1.0, "not_sent", is_silent=True)
        breaker.failed(begin(breaker, 1.0), 1.0, "not_sent", is_silent=True)
        breaker.succeeded(begin(breaker, 1.0), 1.0)

    assert state(breaker) == "closed"


def test_a_few_trial_calls_close_it() -> None:
    breaker = make()
    trip(breaker, 1.0)
    rounds = [breaker.begin(6.0) for _ in range(4)]
    assert rounds[3] is None
    assert breaker.ready_at(6.0) == 11.0
    for round_ in rounds[:3]:
        assert (state(breaker), round_) == ("half_open", breaker.round)
        breaker.succeeded(round_ or 0, 7.0)

    assert state(breaker) == "closed"
    assert breaker.rates(7.0) == (0, 0, 0)


def test_a_trial_call_that_fails_opens_it_for_longer() -> None:
    breaker = make()
    trip(breaker, 1.0)
    breaker.failed(begin(breaker, 6.0), 6.0, "lost")

    assert (breaker.until, breaker.why, breaker.needs_probe) == (16.0, "a trial call failed: lost", False)


def test_trial_calls_that_hang_do_not_keep_it_half_open_forever() -> None:
    breaker = make()
    trip(breaker, 1.0)
    for _ in range(3):
        begin(breaker, 6.0)

    assert breaker.begin(10.9) is None
    assert breaker.begin(11.0) is not None


def test_openings_in_a_row_take_longer_up_to_a_maximum_and_a_good_time_is_a_new_beginning() -> None:
    breaker = make()
    now, lengths = 0.0, []
    for _ in range(6):
        trip(breaker, now)
        lengths.append(breaker.until - now)
        now = breaker.until
        for _ in range(3):
            breaker.succeeded(begin(breaker, now), now)
    trip(breaker, now + 60.0)

    assert lengths == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert breaker.until == now + 65.0


def test_openings_are_jittered_and_never_shorter_than_a_second() -> None:
    shortest, middling = make(lambda: 0.0), make(lambda: 0.5)
    trip(shortest, 0.0)
    trip(middling, 0.0)

    assert (shortest.until, middling.until) == (1.0, 3.0)


def test_what_was_sent_before_it_opened_says_nothing_about_later() -> None:
    breaker = make()
    late = begin(breaker, 1.0)
    trip(breaker, 1.0)
    breaker.update(6.0)

    breaker.failed(late, 6.0, "server_error")
    breaker.succeeded(late, 6.0)

    assert state(breaker) == "half_open"
    assert breaker.rates(6.0)[0] == 10


def test_a_cool_down_lasts_as_long_as_it_was_asked_for_and_is_no_failure() -> None:
    breaker = make()
    breaker.cool_down(1.0, 30.0)
    breaker.cool_down(1.0, 5.0)

    assert (breaker.begin(30.9), breaker.ready_at(2.0), state(breaker)) == (None, 31.0, "closed")
    assert breaker.begin(31.0) is not None
    assert breaker.rates(2.0) == (0, 0, 0)
    breaker.cool_down(40.0, 1e9)
    assert breaker.cool_until == 3_640.0


def test_the_wariness_after_a_429_of_no_length_grows_until_something_is_answered() -> None:
    breaker = make()
    now, waits = 0.0, []
    for _ in range(8):
        breaker.cool_down(now, None)
        breaker.cool_down(now, None)  # of the same storm
        waits.append(breaker.wary_until - now)
        assert breaker.ready_at(now) == now  # calls may go there, but others go first
        now = breaker.wary_until
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]

    breaker.succeeded(begin(breaker, now), now)
    breaker.cool_down(now, None)
    assert breaker.wary_until == now + 0.25


def test_an_operator_decides_whatever_happens() -> None:
    heard = Heard()
    breaker = make(heard=heard)
    breaker.force("closed", 1.0)
    trip(breaker, 1.0)
    silence(breaker, 1.0)
    breaker.believe(Opening(100.0, 1, "elsewhere", needs_probe=True), 1.0)
    assert breaker.begin(1.0) is not None

    breaker.force("open", 2.0)
    breaker.recover(2.0)
    assert (breaker.begin(1e6), breaker.ready_at(10.0), breaker.opening()) == (None, 70.0, None)
    assert not breaker.wants_probe(1e6)
    assert not breaker.is_idle(1e6)
    count = heard.count
    breaker.force("open", 3.0)
    assert heard.count == count

    breaker.force(None, 4.0)
    assert (state(breaker), breaker.begin(4.0) is None, breaker.rates(4.0)) == ("closed", False, (0, 0, 0))


def test_what_another_process_has_found_is_believed_and_tried_later_than_there() -> None:
    breaker = make()
    breaker.believe(Opening(1.0, 1, "past", needs_probe=False), 2.0)
    assert state(breaker) == "closed"

    breaker.believe(Opening(9.0, 3, "5xx there", needs_probe=False), 2.0)
    assert (state(breaker), breaker.until, breaker.why) == ("open", 10.0, "5xx there")
    breaker.believe(Opening(8.0, 3, "earlier", needs_probe=False), 2.0)
    assert breaker.why == "5xx there"
    breaker.believe(Opening(20.0, 4, "again", needs_probe=True), 2.0)
    assert (breaker.until, breaker.needs_probe) == (21.0, True)

    breaker.recover(3.0)
    assert state(breaker) == "closed"
    breaker.recover(3.0)
    assert breaker.begin(3.0) is not None

    breaker.believe_cool_down(5.0)
    breaker.believe_cool_down(4.0)
    assert breaker.ready_at(3.0) == 5.0


def test_what_the_others_are_told_is_what_they_believe() -> None:
    one, other = make(), make(lambda: 0.0)
    assert one.opening() is None
    silence(one, 1.0)
    opening = one.opening()
    assert opening is not None
    other.believe(opening, 1.0)

    assert other.opening() == opening


@pytest.mark.parametrize("is_slow", [False, True])
def test_it_is_idle_when_there_is_nothing_to_remember(is_slow: bool) -> None:
    breaker = make()
    assert breaker.is_idle(0.0)
    breaker.succeeded(begin(breaker, 1.0), 1.0, is_slow=is_slow)
    assert not breaker.is_idle(10.9)
    assert breaker.is_idle(11.0)
