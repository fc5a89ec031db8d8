"""What needs no Redis: amounts, whose limits a call has, shares of processes, and a caller who left."""

import asyncio
from collections.abc import Sequence
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry

from app.core.db import Database
from app.core.health import Dependency
from app.keys.caller import Caller
from app.limits import limit as limits_of
from app.limits import share as shares
from app.limits.amounts import Amounts, Counts, Demand
from app.limits.lease import Charge, Lease, OpenLeases, Verdict, charges_of
from app.limits.limit import Applied, LimitBook, Payer
from app.limits.payer import payer_of
from app.limits.service import LimitService
from app.limits.share import Share
from app.limits.store import LimitStore
from app.observability.metrics import Metrics
from app.settings import Settings
from tests.fixtures.limits import charge, charges, make_limit
from tests.fixtures.waiting import until

PAYER = Payer("proj_1", "user_1", None, "key_1", "gpt-4o")


def test_what_a_call_uses_counts_in_the_units_of_the_limit() -> None:
    used = Amounts(input_tokens=3, output_tokens=4, images=2, audio_seconds=7, audio_bytes=1_000_001)
    assert used.counted() == {
        "requests": 1,
        "concurrent": 1,
        "tokens": 7,
        "input_tokens": 3,
        "output_tokens": 4,
        "images": 2,
        "audio_seconds": 7,
        "audio_megabytes": 2,
        "batch_input_tokens": 0,
    }
    assert set(used.counted()) == set(get_args(Counts))


@pytest.mark.parametrize(
    ("known", "answers", "maximum", "asked"),
    [(10, 0, 100, 10), (10, 1, 1_000, 60), (10, 3, 1_000, 160), (10, 1, 50, 50), (70, 1, 50, 70)],
)
def test_an_answer_without_a_maximum_is_expected_to_be_so_long_but_never_too_large_by_that(
    known: int, answers: int, maximum: int, asked: int
) -> None:
    demand = Demand(Amounts(input_tokens=known), unbounded_outputs=answers)
    applied = [Applied(make_limit(counts=counts, maximum=maximum), counts) for counts in ("tokens", "input_tokens")]
    assert [each.cost for each in charges_of(demand, applied, output_tokens_default=50)] == [asked, known]


def test_a_person_who_signed_in_has_no_key() -> None:
    person = Caller("sess_1", "person", "proj_1", None, user_id="user_1")
    assert payer_of(person).key_id is None
    limits = [make_limit(scope=scope) for scope in ("api_key", "user", "project", "service_account", "address")]
    assert {each.limit.scope for each in LimitBook(limits).of(payer_of(person))} == {"user", "project"}


def test_what_was_found_is_remembered_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_of, "_REMEMBERED_MAX", 2)
    book = LimitBook([make_limit(model="gpt-4o")])
    found = [len(book.find(PAYER._replace(model=model))) for model in ("gpt-4o", "gpt-5", "gpt-6", "gpt-4o")]
    assert found == [1, 0, 0, 1]
    assert len(book._found) <= 2


def test_a_shadow_limit_takes_no_place() -> None:
    book = LimitBook(
        [
            make_limit(id="each", scope="project"),
            make_limit(id="own", scope="project", scope_id="proj_1", mode="shadow"),
        ],
        [make_limit(id="default", scope="project"), make_limit(id="other", scope="project", per="day")],
    )
    assert {each.limit.id for each in book.of(PAYER)} == {"own", "each", "other"}


def test_a_share_forgets_its_oldest_counters_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_COUNTERS_MAX", 2)
    share, limits = Share(OpenLeases()), [make_limit(maximum=1) for _ in range(3)]
    for limit in limits:
        assert share.acquire(charges([limit]), 1, 0).refused is None
    assert [share.acquire(charges([limit]), 1, 0).refused is None for limit in limits[::-1]] == [False, False, True]


def test_a_share_too_small_for_a_call_does_not_say_how_long_to_wait() -> None:
    verdict = Share(OpenLeases()).acquire([charge(make_limit(counts="tokens", maximum=10), 6)], 2, 0)
    assert verdict.refused is not None
    assert (verdict.refused.wait_ms, verdict.refused.is_forever) == (None, False)


def test_a_correction_of_what_a_share_no_longer_counts_changes_nothing() -> None:
    share, limit = Share(OpenLeases()), make_limit(counts="tokens", maximum=10)
    asked = [charge(limit, 6)]
    lease = Lease("lease", asked, [], 0, is_local=True)
    share.correct(lease, [-6])
    assert share.acquire(asked, 1, 0).refused is None
    assert share.acquire(asked, 1, 120_000).refused is None
    share.correct(lease, [-6])
    assert share.acquire(asked, 1, 120_000).refused is not None


def limiting(settings: Settings, store: LimitStore, *limits: limits_of.Limit) -> LimitService:
    """Return the service of a process that knows *limits*, and counts in *store*."""
    assert settings.database_url is not None
    db = Database(settings.database_url.get_secret_value(), settings.database, Dependency("database"))
    service = LimitService(db, store, OpenLeases(), settings.limits, Metrics(CollectorRegistry()))
    service._book = LimitBook(limits)
    return service


class SlowStore(LimitStore):
    """Answers when it is told to."""

    def __init__(self, inner: LimitStore) -> None:
        super().__init__(inner._redis, inner.health, OpenLeases(), inner._timeout_seconds)
        self.go = asyncio.Event()
        self.has_begun = asyncio.Event()
        run = self._group._flush

        async def slowly(asked):  # type: ignore[no-untyped-def]
            self.has_begun.set()
            await self.go.wait()
            return await run(asked)

        self._group._flush = slowly


@pytest.mark.parametrize("maximum", [1, 0])
async def test_a_caller_who_leaves_before_the_answer_counts_nowhere(
    settings: Settings, limit_store: LimitStore, maximum: int
) -> None:
    limit = make_limit(maximum=maximum)
    store = SlowStore(limit_store)
    service = limiting(settings, store, limit)
    waiting = asyncio.create_task(service.acquire(PAYER, lambda _: Demand(Amounts())))
    await store.has_begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    store.go.set()

    async def counts_nothing() -> bool:
        return (await limit_store.look(charges([limit]))).standings[0].remaining == maximum

    await store.close()
    await until(counts_nothing)


class HurriedStore(LimitStore):
    """Its answer comes at the very moment at which who waits for it leaves."""

    def acquire(self, lease_id: str, charges: Sequence[Charge]) -> "asyncio.Future[Verdict]":
        waiting = asyncio.current_task()
        assert waiting is not None
        asked = super().acquire(lease_id, charges)
        asked.add_done_callback(lambda _: waiting.cancel())  # before the task is woken up
        return asked


@pytest.mark.parametrize("maximum", [1, 0])
async def test_a_caller_who_leaves_as_the_answer_comes_counts_nowhere(
    settings: Settings, limit_store: LimitStore, maximum: int
) -> None:
    limit = make_limit(maximum=maximum)
    store = HurriedStore(limit_store._redis, limit_store.health, OpenLeases(), limit_store._timeout_seconds)
    service = limiting(settings, store, limit)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(service.acquire(PAYER, lambda _: Demand(Amounts())))

    await store.close()
    assert (await limit_store.look(charges([limit]))).standings[0].remaining == maximum


@pytest.mark.parametrize("is_local", [False, True])
async def test_a_call_is_counted_everywhere_but_in_the_shadow_limit_that_is_over(
    settings: Settings, limit_store: LimitStore, is_local: bool
) -> None:
    limits = [make_limit(counts="tokens", maximum=2, mode="shadow"), make_limit(), make_limit(mode="shadow")]
    store = LimitStore(limit_store._redis, Dependency("limits"), OpenLeases(), limit_store._timeout_seconds)
    if is_local:
        store.health.down("gone")
    service = limiting(settings, store, *limits)

    lease = await service.acquire(PAYER, lambda _: Demand(Amounts(input_tokens=3)))

    assert lease is not None
    assert [each.limit for each in lease.charges] == limits[1:]
    assert [each.remaining for each in lease.standings] == [9, 9]
    sample = service._metrics.registry.get_sample_value
    told = [sample("weir_limit_refusals_total", {"counts": each, "mode": "shadow"}) for each in ("tokens", "requests")]
    assert told == [1, None]


async def test_a_place_is_given_back_once_however_often_that_is_said(
    settings: Settings, limit_store: LimitStore
) -> None:
    limit = make_limit(counts="tokens", maximum=100)
    service = limiting(settings, limit_store, limit)
    demand = Demand(Amounts(input_tokens=50))
    first = await service.acquire(PAYER, lambda _: demand)
    await service.acquire(PAYER, lambda _: demand)

    for _ in range(3):
        service.adjust(first, Amounts(input_tokens=20))
    service.release(None)
    await limit_store.close()

    assert (await limit_store.look(charges([limit]))).standings[0].remaining == 100 - 20 - 50
