"""The scripts and how they are run: one slot, batches, lost scripts, a clock that is set, leases that expire."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.crc import key_slot

from app.core.health import Dependency
from app.core.redis import Redis
from app.limits.lease import Charge, Lease, OpenLeases, Refused, Verdict
from app.limits.limit import Limit, LimitBook, Payer
from app.limits.share import Share
from app.limits.store import _LEASE_MS, _LEASES_PER_BEAT, _PROCESSES, LimitStore
from tests.fixtures.limits import PATIENT_SECONDS, charge, charges, make_limit

NOW_MS = 1_800_000_000_000


async def admitted(store: LimitStore, asked: Sequence[Charge], lease_id: str = "lease") -> bool:
    return (await store.acquire(lease_id, asked)).refused is None


def lease_of(verdict: Verdict, asked: Sequence[Charge], lease_id: str = "lease") -> Lease:
    return Lease(lease_id, asked, verdict.standings, verdict.at_ms, is_local=False)


def test_all_counters_of_a_call_are_in_one_slot_of_redis_cluster() -> None:
    scopes = ("organization", "project", "user", "service_account", "api_key")
    limits = [make_limit(scope=scope, counts=counts) for scope in scopes for counts in ("requests", "concurrent")]
    applied = list(LimitBook(limits).of(Payer("proj_1", "user_1", "svc_1", "key_1", "gpt-4o")))

    assert len(applied) == 10
    assert len({key for _, key in applied}) == 10
    assert len({key_slot(key.encode()) for key in [*(key for _, key in applied), _PROCESSES]}) == 1


async def test_calls_that_arrive_together_share_one_script_run_and_each_gets_its_own_answer(
    limit_store: LimitStore, limit_redis: Redis
) -> None:
    limit, other = make_limit(maximum=5), make_limit(maximum=100)
    await limit_store.acquire("warm", charges([other]))
    before = await evalsha_calls(limit_redis)

    verdicts = await asyncio.gather(
        *(limit_store.acquire(str(number), charges([limit] if number % 2 else [other, limit])) for number in range(20))
    )

    assert await evalsha_calls(limit_redis) == before + 1
    assert [verdict.refused is None for verdict in verdicts] == [True] * 5 + [False] * 15
    looked = await limit_store.look(charges([limit, other]))
    # Three of the five that passed asked for both; those that were refused by the one count nowhere.
    assert [standing.remaining for standing in looked.standings] == [0, 96]


async def test_a_call_that_is_over_makes_room_for_one_that_comes_with_it_in_the_same_run(
    limit_store: LimitStore, limit_redis: Redis
) -> None:
    asked = [charge(make_limit(counts="concurrent", per=None, maximum=1), 1)]
    tokens = [charge(make_limit(counts="tokens", maximum=10), 10)]
    first = lease_of(await limit_store.acquire("first", asked + tokens), asked + tokens, "first")
    before = await evalsha_calls(limit_redis)

    limit_store.end(first, [0, -4])
    verdict, small, large = await asyncio.gather(
        limit_store.acquire("second", asked),
        limit_store.acquire("third", [charge(tokens[0].limit, 4)]),
        limit_store.acquire("fourth", [charge(tokens[0].limit, 1)]),
    )

    assert await evalsha_calls(limit_redis) == before + 1
    assert [each.refused is None for each in (verdict, small, large)] == [True, True, False]


@pytest.mark.parametrize(("maximum", "waits"), [(4, True), (3, False)])
async def test_the_end_of_a_call_waits_for_another_call_unless_its_place_is_scarce(
    limit_store: LimitStore, limit_redis: Redis, monkeypatch: pytest.MonkeyPatch, maximum: int, waits: bool
) -> None:
    monkeypatch.setattr("app.limits.store._END_WITHIN_SECONDS", 600.0)
    limit = make_limit(counts="concurrent", per=None, maximum=maximum)
    asked = [charge(limit, 1), charge(make_limit(counts="tokens", maximum=10), 10)]
    await limit_store.acquire("other", [charge(limit, 1)])
    lease = lease_of(await limit_store.acquire("first", asked), asked, "first")
    before = await evalsha_calls(limit_redis)

    limit_store.end(lease, [0, -4])
    assert (limit_store._group._due_later is not None) == waits
    await limit_store.acquire("third", [charge(limit, 1)])

    assert await evalsha_calls(limit_redis) == before + 1
    assert [each.remaining for each in (await limit_store.look(asked)).standings] == [maximum - 2, 4]


async def evalsha_calls(redis: Redis) -> int:
    stats = await redis._first.client.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


async def test_a_script_that_was_flushed_is_loaded_again_by_the_call_that_misses_it(
    limit_store: LimitStore, limit_redis: Redis
) -> None:
    limit = make_limit(maximum=2)
    assert await admitted(limit_store, charges([limit]))
    await limit_redis._first.client.script_flush()

    assert await admitted(limit_store, charges([limit]))
    assert not await admitted(limit_store, charges([limit]))
    assert limit_store.health.is_up


async def test_an_empty_redis_begins_its_windows_anew(limit_store: LimitStore, limit_redis: Redis) -> None:
    limit = make_limit(maximum=1)
    asked = charges([limit])
    verdict = await limit_store.acquire("lease", asked)
    await limit_redis._first.client.flushdb()

    assert await admitted(limit_store, asked)
    limit_store.end(lease_of(verdict, asked), [0])
    await limit_store.close()
    assert not await admitted(limit_store, asked)


async def test_a_correction_of_what_is_lost_is_made_nowhere(limit_store: LimitStore, limit_redis: Redis) -> None:
    limit = make_limit(counts="tokens", maximum=100)
    asked = [charge(limit, 60)]
    verdict = await limit_store.acquire("lease", asked)
    await limit_redis._first.client.flushdb()

    limit_store.end(lease_of(verdict, asked), [-50])
    await limit_store.close()

    looked = await limit_store.look(asked)
    assert looked.standings[0].remaining == 100


async def test_a_call_that_used_more_than_was_estimated_counts_what_it_used(limit_store: LimitStore) -> None:
    limit = make_limit(counts="tokens", maximum=100)
    asked = [charge(limit, 60)]
    limit_store.now_ms = NOW_MS
    verdict = await limit_store.acquire("lease", asked)
    limit_store.end(lease_of(verdict, asked), [70])
    await limit_store.close()

    refused = (await limit_store.acquire("next", [charge(limit, 1)])).refused
    assert refused is not None
    assert refused.wait_ms is not None
    limit_store.now_ms = NOW_MS + refused.wait_ms
    assert await admitted(limit_store, [charge(limit, 100)])


async def test_a_clock_that_goes_back_a_little_forgets_nothing(limit_store: LimitStore) -> None:
    asked = charges([make_limit(maximum=2)])
    limit_store.now_ms = NOW_MS
    assert await admitted(limit_store, asked)
    limit_store.now_ms = NOW_MS - 30_000
    assert await admitted(limit_store, asked)

    refused = (await limit_store.acquire("lease", asked)).refused
    assert refused is not None
    # The counter's time stands still until the clock is back where it was.
    assert refused.wait_ms is not None
    assert 90_000 <= refused.wait_ms <= 90_600
    limit_store.now_ms += refused.wait_ms
    assert await admitted(limit_store, asked)


async def test_a_clock_that_goes_back_by_more_than_a_window_begins_it_anew(limit_store: LimitStore) -> None:
    asked = charges([make_limit(maximum=1)])
    limit_store.now_ms = NOW_MS
    assert await admitted(limit_store, asked)

    limit_store.now_ms = NOW_MS - 3_600_000
    assert await admitted(limit_store, asked)
    assert not await admitted(limit_store, asked)


async def test_what_a_clock_left_in_the_future_never_counts_when_it_gets_there(limit_store: LimitStore) -> None:
    asked = charges([make_limit(maximum=3)])
    for moment, times in ((NOW_MS, 2), (NOW_MS - 3_600_000, 1), (NOW_MS, 1), (NOW_MS + 30_000, 2)):
        limit_store.now_ms = moment
        for _ in range(times):
            assert await admitted(limit_store, asked)

    limit_store.now_ms = NOW_MS + 61_000  # of these three, one is no longer in the window
    assert await admitted(limit_store, asked)
    assert not await admitted(limit_store, asked)


async def test_a_correction_takes_no_more_than_there_is(limit_store: LimitStore, limit_redis: Redis) -> None:
    limit = make_limit(counts="tokens", maximum=100)
    limit_store.now_ms = NOW_MS
    asked = [charge(limit, 60)]
    verdict = await limit_store.acquire("lease", asked)
    await limit_redis._first.client.flushdb()
    assert await admitted(limit_store, [charge(limit, 10)])

    limit_store.end(lease_of(verdict, asked), [-50])
    await limit_store.close()

    assert (await limit_store.look(asked)).standings[0].remaining == 100


async def test_looking_says_when_all_is_back_and_counts_nothing(limit_store: LimitStore) -> None:
    asked = charges([make_limit(maximum=2)])
    limit_store.now_ms = NOW_MS
    assert await admitted(limit_store, asked)
    limit_store.now_ms += 30_000

    looks = [(await limit_store.look(asked)).standings[0] for _ in range(3)]

    assert {(look.remaining, look.reset_ms) for look in looks} == {(1, 30_600)}


async def test_of_several_limits_that_refuse_the_one_that_takes_longest_is_named(limit_store: LimitStore) -> None:
    limits = [make_limit(per="second", maximum=1), make_limit(per="hour", maximum=1), make_limit(maximum=1)]
    share = Share(OpenLeases())
    limit_store.now_ms = NOW_MS
    assert await admitted(limit_store, charges(limits))
    assert share.acquire(charges(limits), 1, NOW_MS).refused is None

    expected = Refused(by=1, wait_ms=3_636_000)
    assert (await limit_store.acquire("next", charges(limits))).refused == expected
    assert share.acquire(charges(limits), 1, NOW_MS).refused == expected


async def test_a_wait_that_nobody_knows_beats_one_that_is_known_and_never_beats_both(limit_store: LimitStore) -> None:
    known, unknown = make_limit(maximum=1), make_limit(counts="concurrent", maximum=1)
    never = make_limit(maximum=0)
    assert await admitted(limit_store, charges([known, unknown]))

    async def refused(*limits: Limit) -> Refused | None:
        return (await limit_store.acquire("next", charges(limits))).refused

    assert await refused(known, unknown) == Refused(by=1, wait_ms=None)
    assert await refused(never, unknown, known) == Refused(by=0, wait_ms=None, is_forever=True)


async def test_places_at_once_end_with_their_calls_or_expire_by_themselves(limit_store: LimitStore) -> None:
    asked = charges([make_limit(counts="concurrent", maximum=2)])
    limit_store.now_ms = NOW_MS
    first = await limit_store.acquire("first", asked)
    assert await admitted(limit_store, asked, "second")
    assert not await admitted(limit_store, asked, "third")

    limit_store.end(lease_of(first, asked, "first"), [0])
    await limit_store.close()
    assert await admitted(limit_store, asked, "third")

    limit_store.now_ms = NOW_MS + _LEASE_MS  # both processes were killed
    assert await admitted(limit_store, asked, "fourth")
    assert (await limit_store.look(asked)).standings[0].remaining == 1


@pytest.fixture
def own_store(limit_redis: Redis) -> tuple[LimitStore, OpenLeases]:
    open_leases = OpenLeases()
    return LimitStore(limit_redis, Dependency("limits"), open_leases, PATIENT_SECONDS), open_leases


async def test_a_beat_keeps_places_alive_and_brings_lost_ones_back(
    own_store: tuple[LimitStore, OpenLeases], limit_redis: Redis
) -> None:
    store, open_leases = own_store
    asked = charges([make_limit(counts="concurrent", maximum=2), make_limit()])
    lease = lease_of(await store.acquire("lease", asked), asked)
    open_leases.add(lease)
    await limit_redis._first.client.flushdb()

    await store.beat()

    assert (await store.look(asked[:1])).standings[0].remaining == 1
    open_leases.remove(lease)
    store.end(lease, [0, 0])
    await store.close()
    await store.beat()
    assert (await store.look(asked[:1])).standings[0].remaining == 2


async def test_a_beat_does_not_bring_back_a_place_that_ends_meanwhile(
    own_store: tuple[LimitStore, OpenLeases], limit_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, open_leases = own_store
    asked = charges([make_limit(counts="concurrent", maximum=1_000)])
    names = [f"lease_{number}" for number in range(_LEASES_PER_BEAT + 1)]  # so many that a beat has two parts
    leases = [lease_of(await store.acquire(name, asked), asked, name) for name in names]
    for lease in leases:
        open_leases.add(lease)
    run = limit_redis.run
    ended: list[Lease] = []

    async def run_and_end(script: Any, keys: list[str], *more: Any) -> Any:
        answer = await run(script, keys, *more)
        if keys[0] == _PROCESSES and not ended:
            ended.append(leases[-1])
            open_leases.remove(leases[-1])
            store.end(leases[-1], [0])
            await store.close()
        return answer

    monkeypatch.setattr(limit_redis, "run", run_and_end)
    await store.beat()

    assert (await store.look(asked)).standings[0].remaining == 1_000 - _LEASES_PER_BEAT


async def test_processes_know_how_many_they_are(limit_redis: Redis) -> None:
    await limit_redis._first.client.delete(_PROCESSES)
    stores = [LimitStore(limit_redis, Dependency("limits"), OpenLeases(), PATIENT_SECONDS) for _ in range(3)]
    for store in stores:
        await store.beat()
    await stores[0].beat()

    assert [store.processes for store in stores] == [3, 2, 3]
