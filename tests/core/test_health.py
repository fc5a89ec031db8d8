"""A dependency's state is remembered, and told once per change."""

from structlog.testing import capture_logs

from app.core.health import Dependency


def test_a_dependency_is_up_until_it_is_not() -> None:
    dependency = Dependency("database")
    states = [(dependency.is_up, dependency.reason)]

    dependency.down("it does not answer")
    states.append((dependency.is_up, dependency.reason))
    dependency.up()
    states.append((dependency.is_up, dependency.reason))

    assert states == [(True, None), (False, "it does not answer"), (True, None)]


def test_an_outage_is_one_line_and_its_end_another_and_the_metric_follows() -> None:
    told: list[bool] = []
    dependency = Dependency("redis", told.append)

    with capture_logs() as lines:
        dependency.up()
        dependency.down("first reason")
        dependency.down("second reason")
        dependency.up()
        dependency.up()

    assert lines == [
        {"event": "dependency_lost", "dependency": "redis", "reason": "first reason", "log_level": "warning"},
        {"event": "dependency_back", "dependency": "redis", "log_level": "info"},
    ]
    assert told == [True, False, True]


def test_the_newest_reason_is_the_one_that_is_shown() -> None:
    dependency = Dependency("database")

    dependency.down("refused")
    dependency.down("starting up")

    assert dependency.reason == "starting up"
