"""Processes that tell each other about upstreams: two services on one real Valkey, which may go away."""

from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from app.core.clock import monotonic_seconds
from app.core.health import Dependency
from app.core.redis import Redis, Script
from app.observability.upstream_metrics import UpstreamMetrics
from app.settings import Settings
from app.upstreams.breaker import BreakerRules
from app.upstreams.breaker_service import BreakerService
from app.upstreams.breaker_store import BOARD, BreakerStore, Note
from app.upstreams.directory import Directory
from app.upstreams.failure import of_answer, of_failure
from app.upstreams.notes import Message, read
from app.upstreams.routing import Target, Upstream
from app.upstreams.target_health import HealthRules, TargetHealth
from tests.upstreams.knowing import MODEL, make_upstream

ONE = make_upstream("one")
TARGET = Target(ONE, MODEL)
RULES = HealthRules(BreakerRules(silent_calls_max=1, trial_calls=1, open_seconds=30.0))
MakeService = Callable[..., BreakerService]


@pytest.fixture
async def make(limit_redis: Redis) -> AsyncIterator[MakeService]:
    """Return what makes a process; the board is empty at first."""
    clear = Script("return redis.call('DEL', KEYS[1])")
    await limit_redis.run(clear, [BOARD], [], 5)

    def make_service(*upstreams: Upstream, redis: Redis = limit_redis) -> BreakerService:
        registry = CollectorRegistry()
        service = BreakerService(
            BreakerStore(redis),
            Directory(upstreams or (ONE,)),
            RULES,
            Dependency("breakers"),
            UpstreamMetrics(registry),
        )
        service.__dict__["registry"] = registry
        return service

    yield make_service
    await limit_redis.run(clear, [BOARD], [], 5)


def known(service: BreakerService) -> TargetHealth:
    return service.health.of(TARGET, monotonic_seconds())


def value(service: BreakerService, name: str, **labels: str) -> float | None:
    registry: CollectorRegistry = service.__dict__["registry"]
    return registry.get_sample_value(name, labels)


def is_shared(service: BreakerService) -> bool:
    return service._shared.is_up


def state(service: BreakerService) -> str:
    return known(service).breaker.state


def break_it(service: BreakerService) -> None:
    ticket = service.health.begin(TARGET, monotonic_seconds())
    assert ticket is not None
    ticket.failed(of_failure("not_sent"), monotonic_seconds())
    ticket.end()


def mend_it(service: BreakerService) -> None:
    """Find by a probe and a trial call that it works again."""
    breaker = known(service).breaker
    breaker.probed(breaker.until, is_answered=True)
    round_ = breaker.begin(breaker.until)
    assert round_ is not None
    breaker.succeeded(round_, breaker.until)


async def test_what_one_process_has_found_out_spares_the_others(make: MakeService) -> None:
    one, other = make(), make()
    break_it(one)
    await one.exchange()
    await other.exchange()

    mine, theirs = known(one).breaker, known(other).breaker
    assert state(other) == "open"
    assert theirs.until == pytest.approx(mine.until + 0.5, abs=0.6)
    assert (theirs.why, theirs.needs_probe) == (mine.why, True)
    assert other.health.begin(TARGET, monotonic_seconds()) is None


async def test_what_one_process_finds_mended_the_others_use_again(make: MakeService) -> None:
    one, other = make(), make()
    break_it(one)
    await one.exchange()
    await other.exchange()
    mend_it(other)
    await other.exchange()
    await one.exchange()

    assert (state(one), state(other)) == ("closed", "closed")


async def test_every_change_is_one_line_in_the_log(make: MakeService) -> None:
    one, other = make(), make()
    with capture_logs() as lines:
        break_it(one)
        await one.exchange()
        await other.exchange()
        mend_it(one)
        one.force({("one", MODEL): "open"})
        one.force({("one", MODEL): "closed"})
        known(one).breaker.cool_down(monotonic_seconds(), 20.0)

    found = [(line["event"], line["by"], line.get("reason"), line["log_level"]) for line in lines]
    why = "1 calls in a row without an answer: not_sent"
    assert found == [
        ("breaker_opened", "itself", why, "warning"),
        ("breaker_opened", "another_process", why, "warning"),
        ("breaker_half_open", "itself", None, "info"),
        ("breaker_closed", "itself", None, "info"),
        ("breaker_opened", "operator", None, "warning"),
        ("breaker_closed", "operator", None, "info"),
    ]
    assert {(line["upstream"], line["model"]) for line in lines} == {("one", MODEL)}


async def test_what_was_heard_once_is_not_believed_twice(make: MakeService) -> None:
    one, other = make(), make()
    break_it(one)
    await one.exchange()
    await other.exchange()
    known(other).breaker.recover(monotonic_seconds())

    await other.exchange()

    assert state(other) == "closed"


async def test_nobody_repeats_what_another_has_said(make: MakeService) -> None:
    one, other = make(), make()
    break_it(one)
    await one.exchange()
    await other.exchange()

    assert not other._to_say
    assert not other._has_news.is_set()


async def test_a_cool_down_is_told_unless_it_is_over_at_once(make: MakeService) -> None:
    one, other = make(), make()
    limited = of_answer(429)
    assert limited is not None
    for seconds, is_told in ((0.5, False), (20.0, True)):
        now = monotonic_seconds()
        ticket = one.health.of(TARGET, now)
        ticket.breaker.cool_down(now, seconds)
        assert one._has_news.is_set() == is_told
        await one.exchange()
        await other.exchange()
        assert (known(other).breaker.cool_until > now) == is_told

    assert known(other).breaker.cool_until == pytest.approx(known(one).breaker.cool_until, abs=0.5)
    assert state(other) == "closed"


async def test_an_upstream_of_the_same_name_somewhere_else_is_another_one(make: MakeService) -> None:
    one, elsewhere, without = (
        make(),
        make(make_upstream("one", base_url="https://new.example/v1")),
        make(make_upstream("two")),
    )
    break_it(one)
    await one.exchange()
    await elsewhere.exchange()
    await without.exchange()

    target = Target(make_upstream("one", base_url="https://new.example/v1"), MODEL)
    assert elsewhere.health.of(target, monotonic_seconds()).breaker.state == "closed"
    assert without.health.targets() == []


async def test_processes_know_how_many_they_are(make: MakeService) -> None:
    one, other = make(), make()
    await one.exchange()
    assert one.health.processes == 1
    await other.exchange()
    await one.exchange()

    assert (one.health.processes, other.health.processes) == (2, 2)


async def test_while_redis_is_away_each_process_goes_by_itself_and_tells_it_later(
    make: MakeService, settings: Settings
) -> None:
    away = Redis("redis://127.0.0.1:1", settings.redis, Dependency("redis"))
    one, other = make(), make()
    there, one._store = one._store, BreakerStore(away)
    break_it(one)
    await one.exchange()
    assert one._shared.reason is not None
    assert state(one) == "open"

    one._store = there
    await one.exchange()
    await other.exchange()
    assert is_shared(one)
    assert state(other) == "open"
    await away.close()


async def test_what_cannot_be_read_is_passed_over_and_what_is_over_is_removed(
    make: MakeService, limit_redis: Redis
) -> None:
    store = BreakerStore(limit_redis)
    heard = await store.exchange(
        [
            Note("over", 0.0, 5.0, "gone at once"),
            Note("strange", 60.0, 0.0, '{"said": "opened"}'),
            Note("wrong", 60.0, 0.0, Message("here", "p").text().replace('"here"', '"sung"')),
            Note("no json", 60.0, 2.5, "\x1f{"),
        ]
    )
    assert {note.name: (round(note.ends_in_seconds, 1), note.text[:2]) for note in heard} == {
        "strange": (0.0, '{"'),
        "wrong": (0.0, '{"'),
        "no json": (2.5, "\x1f{"),
    }
    assert [read(note.text) for note in heard] == [None, None, None]

    one = make()
    await one.exchange()
    assert one.health.processes == 1


async def test_the_board_is_bounded(limit_redis: Redis, make: MakeService) -> None:
    store = BreakerStore(limit_redis)
    for at in range(0, 6_000, 1_000):
        heard = await store.exchange([Note(f"n{at + index}", 60.0, 0.0, "x") for index in range(1_000)])

    assert len(heard) == 5_000


async def test_metrics_say_what_is_open_what_was_tried_and_what_may_be_tried_again(make: MakeService) -> None:
    one = make()
    break_it(one)
    one._look()
    labels = {"upstream": "one", "model": MODEL}
    assert value(one, "weir_upstream_breaker_state", **labels) == 2
    assert value(one, "weir_upstream_attempts_total", upstream="one", outcome="not_sent") == 1
    assert value(one, "weir_upstream_retry_budget", upstream="one") == 10

    mend_it(one)
    one._look()
    assert value(one, "weir_upstream_breaker_state", **labels) == 0
    break_it(one)
    one._directory.replace([])
    one._directory._environment = ()
    one._directory.set(())
    one._look()
    assert value(one, "weir_upstream_breaker_state", **labels) == 0
    assert value(one, "weir_upstream_attempts_total", upstream="one", outcome="not_sent") == 2


def test_models_that_nobody_has_ever_heard_of_do_not_fill_the_metrics() -> None:
    registry = CollectorRegistry()
    metrics = UpstreamMetrics(registry)
    for index in range(300):
        metrics.breaker_is("one", f"model-{index}", "open")
    metrics.breaker_is("one", "model-5", "closed")

    (family,) = (family for family in registry.collect() if family.name == "weir_upstream_breaker_state")
    assert len(family.samples) == 201
    assert registry.get_sample_value("weir_upstream_breaker_state", {"upstream": "one", "model": "model-5"}) == 0
    metrics.breakers_shared(is_up=False)
    assert registry.get_sample_value("weir_upstream_breakers_local") == 1


async def test_what_an_operator_decides_is_no_news_for_the_board(make: MakeService) -> None:
    one = make()
    one.force({("one", MODEL): "open", ("gone", MODEL): "open"})
    assert (state(one), len(one.health.targets())) == ("open", 1)
    one.force({})
    assert state(one) == "closed"
    assert not one._to_say


def test_every_message_can_be_read_again() -> None:
    message = Message("opened", "p", 7, "one", "https://one/v1", MODEL, 3, "why\u2028", needs_probe=True)

    assert read(message.text()) == message
    assert message.opening(5.0) == (5.0, 3, "why\u2028", True)
    assert Message("closed", "q", 1, "one", "https://one/v1", MODEL).name == message.name
    assert Message("cooling_down", "q", 1, "one", "https://one/v1", MODEL).name != message.name
    assert read("[]") is None
