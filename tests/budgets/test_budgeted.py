"""What budgets admit and refuse, on a real PostgreSQL, in one process and in several."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncpg import UntranslatableCharacterError

from app.budgets import budget as budget_module
from app.budgets.admission import Demand, Grant
from app.budgets.service import BudgetService
from app.core.clock import utc_now
from app.core.db import Database
from app.core.money import Nano
from app.idempotency.key import StoredAnswer
from app.ledger.entries import Entry
from app.money_errors import BudgetReserved, BudgetSpent, ModelNotPriced
from tests.budgets.conftest import (
    FIXED,
    ledger_rows,
    make_budget,
    make_entry,
    make_reservation,
    open_budgets,
    open_reservations,
    windows,
)
from tests.fixtures.waiting import until

FLEXIBLE = Demand(Nano(9_000), Nano(9_000), Nano(1_000))


async def started(db: Database, **changes: object) -> BudgetService:
    budgets = open_budgets(db, **{"reserve_wait_ms": 0, **changes})  # type: ignore[arg-type]
    await budgets.lease.beat()
    return budgets


async def reserve(budgets: BudgetService, demand: Demand | None = FIXED, **changes: object) -> tuple[Grant, Entry]:
    """Reserve, and return what was granted and the entry that settles it."""
    reservation = make_reservation(process_id=budgets.process_id, **changes)
    grant = await budgets.reserve(reservation, demand)
    assert grant is not None, "only an idempotency key can be in the way"
    return grant, make_entry(id=reservation.id, cost_nano=Nano(2_000), budget_window_ids=grant.window_ids)


async def settle(budgets: BudgetService, *entries: Entry) -> None:
    for entry in entries:
        budgets.settle(entry)
    await budgets._ledger.drain()


async def drain(budgets: BudgetService) -> None:
    await budgets._reserving.drain()
    await asyncio.sleep(0)  # the callbacks of what was reserved
    await budgets._releasing.drain()


@pytest.mark.parametrize("processes", [1, 2])
async def test_fifty_at_once_on_a_budget_for_ten_admit_exactly_ten(db: Database, processes: int) -> None:
    budget_id = await make_budget(db, limit_nano=10 * 9_000 + 8_999)
    gateways = [await started(db) for _ in range(processes)]

    answers = await asyncio.gather(
        *(reserve(gateways[number % processes]) for number in range(50)), return_exceptions=True
    )

    granted = [answer for answer in answers if isinstance(answer, tuple)]
    refused = [answer for answer in answers if isinstance(answer, BudgetReserved)]
    assert (len(granted), len(refused)) == (10, 40)
    assert await windows(db, budget_id) == [(0, 90_000)]
    assert await open_reservations(db) == 10
    await settle(gateways[0], *(entry for _, entry in granted))
    assert await windows(db, budget_id) == [(20_000, 0)]


async def test_a_call_counts_in_every_budget_that_applies_or_in_none(db: Database) -> None:
    everything = await make_budget(db)
    project = await make_budget(db, scope="project", scope_id="proj_default", period="day")
    user = await make_budget(db, scope="user", scope_id="user_ada", model="gpt-4o*", period="week")
    key = await make_budget(db, scope="api_key", scope_id="key_test", limit_nano=9_000, period="total")
    elsewhere = await make_budget(db, scope="api_key", scope_id="key_other")
    budgets = await started(db)

    _, entry = await reserve(budgets, user_id="user_ada")
    with pytest.raises(BudgetReserved):
        await reserve(budgets, user_id="user_ada")

    for budget_id in (everything, project, user, key):
        assert await windows(db, budget_id) == [(0, 9_000)]
    assert await windows(db, elsewhere) == []
    await settle(budgets, entry)
    for budget_id in (everything, project, user, key):
        assert await windows(db, budget_id) == [(2_000, 0)]


async def test_a_spent_budget_is_refused_with_everything_that_explains_it(db: Database) -> None:
    budget_id = await make_budget(db, limit_nano=10_000, name="Research")
    budgets = await started(db)
    _, entry = await reserve(budgets)
    await settle(budgets, entry)

    with pytest.raises(BudgetSpent) as refused:
        await reserve(budgets)

    assert refused.value.headers == {"x-should-retry": "false"}
    shown = refused.value.envelope()["error"]
    assert (shown["type"], shown["code"], shown["param"]) == ("insufficient_quota", "insufficient_quota", None)
    resets_at = shown["budget"].pop("resets_at")
    assert datetime.fromtimestamp(resets_at, UTC).day == 1
    assert shown["budget"] == {
        "id": budget_id,
        "name": "Research",
        "scope": "organization",
        "period": "month",
        "limit_usd": "0.00001",
        "spent_usd": "0.000002",
        "reserved_usd": "0",
        "withheld_usd": "0",
        "needed_usd": "0.000009",
    }
    assert "It resets at" in shown["message"]


async def test_a_spent_total_budget_never_resets(db: Database) -> None:
    await make_budget(db, limit_nano=0, period="total")
    with pytest.raises(BudgetSpent) as refused:
        await reserve(await started(db))
    assert refused.value.budget["resets_at"] is None
    assert "resets" not in refused.value.message


async def test_a_budget_that_is_held_says_when_to_ask_again(db: Database) -> None:
    await make_budget(db, limit_nano=10_000)
    budgets = await started(db)
    await reserve(budgets)

    with pytest.raises(BudgetReserved) as refused:
        await reserve(budgets)

    assert refused.value.code == "budget_reserved"
    assert refused.value.headers == {"x-should-retry": "true", "retry-after-ms": "50", "retry-after": "1"}


async def test_a_call_that_waits_in_vain_is_refused_when_its_time_is_over(db: Database) -> None:
    await make_budget(db, limit_nano=10_000)
    budgets = await started(db, reserve_wait_ms=20)
    await reserve(budgets)

    async with asyncio.timeout(15):
        with pytest.raises(BudgetReserved):
            await reserve(budgets)


async def test_a_spent_budget_and_a_model_without_a_price_are_not_waited_for(db: Database) -> None:
    await make_budget(db, limit_nano=8_999)
    budgets = await started(db, reserve_wait_ms=60_000)

    async with asyncio.timeout(15):
        with pytest.raises(BudgetSpent):
            await reserve(budgets)
        with pytest.raises(ModelNotPriced):
            await reserve(budgets, None)


async def test_a_call_waits_for_a_hold_of_its_own_process_to_come_back(db: Database) -> None:
    await make_budget(db, limit_nano=11_000)
    budgets = await started(db, reserve_wait_ms=30_000)
    _, first = await reserve(budgets)
    waiting = asyncio.create_task(reserve(budgets))
    await asyncio.sleep(0)
    await settle(budgets, first)

    grant, _ = await asyncio.wait_for(waiting, 20)
    assert grant.ceiling_nano == 9_000


async def test_settlements_that_nobody_waits_for_share_a_commit(db: Database) -> None:
    await make_budget(db)
    budgets = await started(db, reserve_wait_ms=30_000)
    budgets._settle_within_seconds = 600
    entries = [(await reserve(budgets))[1] for _ in range(2)]

    settled = [budgets.settle(entry) for entry in entries]
    await reserve(budgets)  # which does not need what they hold
    assert await open_reservations(db) == 3
    budgets.settle(entries[0]._replace(id=make_reservation().id), has_key=True)

    await asyncio.wait_for(asyncio.gather(*settled), 20)
    assert await open_reservations(db) == 1


async def test_a_call_that_needs_what_a_settlement_gives_back_does_not_wait_for_others_to_share_its_commit(
    db: Database,
) -> None:
    await make_budget(db, limit_nano=11_000)
    budgets = await started(db, reserve_wait_ms=30_000)
    budgets._settle_within_seconds = 600
    _, first = await reserve(budgets)

    budgets.settle(first)
    _, second = await asyncio.wait_for(reserve(budgets), 20)

    # From now on it is known that its window has little room.
    await asyncio.wait_for(budgets.settle(second), 20)


async def test_what_comes_back_while_a_call_waits_comes_back_at_once(db: Database) -> None:
    await make_budget(db, limit_nano=11_000)
    ours = await started(db, reserve_wait_ms=30_000)
    ours._settle_within_seconds = 600
    _, first = await reserve(ours)
    waiting = asyncio.create_task(reserve(ours))
    await until(lambda: ours._holds.are_awaited)

    ours.settle(first)

    await asyncio.wait_for(waiting, 20)


async def test_where_no_call_may_wait_a_settlement_does_not_either(db: Database) -> None:
    await make_budget(db)
    budgets = await started(db, reserve_wait_ms=0)
    _, entry = await reserve(budgets)

    settled = budgets.settle(entry)
    assert budgets._ledger._group._due_later is None

    await asyncio.wait_for(settled, 20)


async def test_a_call_waits_for_a_hold_of_another_process_too(db: Database) -> None:
    await make_budget(db, limit_nano=11_000)
    ours, theirs = await started(db, reserve_wait_ms=30_000), await started(db)
    _, first = await reserve(theirs)
    waiting = asyncio.create_task(reserve(ours))
    await asyncio.sleep(0)
    theirs.release(first.id)
    await drain(theirs)

    grant, _ = await asyncio.wait_for(waiting, 20)
    assert grant.ceiling_nano == 9_000


async def test_a_call_without_a_maximum_takes_what_is_left(db: Database) -> None:
    budget_id = await make_budget(db, limit_nano=12_000)
    budgets = await started(db)

    first, _ = await reserve(budgets, FLEXIBLE)
    second, _ = await reserve(budgets, FLEXIBLE)

    assert [first.ceiling_nano, second.ceiling_nano] == [9_000, 3_000]
    assert first.must_be_capped
    assert await windows(db, budget_id) == [(0, 12_000)]


async def test_a_model_without_a_price_is_refused_under_a_budget_only(db: Database) -> None:
    budgets = await started(db)
    assert (await reserve(budgets, None))[0] == Grant(Nano(0), (), must_be_capped=False)
    budget_id = await make_budget(db, mode="observing")
    assert (await reserve(budgets, None))[0].ceiling_nano == 0
    await make_budget(db)
    with pytest.raises(ModelNotPriced):
        await reserve(budgets, None)
    assert await windows(db, budget_id) == [(0, 0)]


async def test_one_refused_call_does_not_keep_out_the_others_of_its_group(db: Database) -> None:
    await make_budget(db, scope="api_key", scope_id="key_poor", limit_nano=1)
    budgets = await started(db)

    poor, rich = await asyncio.gather(
        reserve(budgets, key_id="key_poor"), reserve(budgets, key_id="key_rich"), return_exceptions=True
    )

    assert isinstance(poor, BudgetSpent)
    assert isinstance(rich, tuple)
    assert await open_reservations(db) == 1


async def test_a_changed_budget_counts_from_the_next_reservation_on(db: Database) -> None:
    budget_id = await make_budget(db, limit_nano=1)
    budgets = await started(db)
    with pytest.raises(BudgetSpent):
        await reserve(budgets)

    async with db.hot_connection() as connection, connection.transaction():
        await connection.execute("UPDATE budgets SET limit_nano = 9000 WHERE id = $1", budget_id)
        await connection.execute("UPDATE budget_versions SET version = version + 1")

    await reserve(budgets)


async def test_a_caller_is_counted_from_its_first_call_on_though_others_have_called_before(db: Database) -> None:
    await make_budget(db, scope="api_key", scope_id="key_test")
    late = await make_budget(db, scope="api_key", scope_id="key_late")
    budgets = await started(db)
    await reserve(budgets)
    assert await windows(db, late) == []

    await reserve(budgets, key_id="key_late")

    assert await windows(db, late) == [(0, 9_000)]


async def test_a_released_call_gives_back_what_it_held(db: Database) -> None:
    budget_id = await make_budget(db)
    budgets = await started(db)
    _, entry = await reserve(budgets)

    budgets.release(entry.id)
    await drain(budgets)

    assert await windows(db, budget_id) == [(0, 0)]


async def test_the_dead_are_charged_to_their_budgets_and_a_sleeper_corrects_that(db: Database) -> None:
    budget_id = await make_budget(db)
    sleeper, other = await started(db), await started(db, lease_seconds=0.001)
    _, entry = await reserve(sleeper)

    assert await other.lease.sweep() == 1
    assert await windows(db, budget_id) == [(9_000, 0)]
    await settle(sleeper, entry)
    await settle(sleeper, entry)

    assert await windows(db, budget_id) == [(2_000, 0)]
    assert sum(row[2] for row in await ledger_rows(db)) == 2_000


async def test_a_call_belongs_to_the_window_in_which_it_was_reserved(db: Database) -> None:
    budget_id = await make_budget(db, limit_nano=9_000, period="day")
    budgets = await started(db)
    _, entry = await reserve(budgets)
    async with db.hot_connection() as connection:  # a day goes by
        await connection.execute(
            "UPDATE budget_windows SET starts_at = starts_at - interval '1 day', ends_at = ends_at - interval '1 day'"
        )
    [(budget, (span, window_id))] = budgets._windows._current.items()
    assert span.ends_at is not None
    yesterday = span._replace(starts_at=span.starts_at - timedelta(days=1), ends_at=span.starts_at)
    budgets._windows._current[budget] = (yesterday, window_id)

    await reserve(budgets)
    await settle(budgets, entry)

    assert await windows(db, budget_id) == [(2_000, 0), (0, 9_000)]


async def test_two_processes_make_a_window_once(db: Database) -> None:
    budget_id = await make_budget(db)
    gateways = [await started(db) for _ in range(4)]
    await asyncio.gather(*(reserve(gateway) for gateway in gateways))
    assert await windows(db, budget_id) == [(0, 36_000)]


async def test_a_window_that_somebody_deleted_is_made_anew(db: Database) -> None:
    budget_id = await make_budget(db)
    budgets = await started(db)
    await reserve(budgets)
    async with db.hot_connection() as connection:
        await connection.execute("DELETE FROM budget_windows")

    await reserve(budgets)

    assert await windows(db, budget_id) == [(0, 9_000)]
    async with db.hot_connection() as connection:
        await connection.execute("DELETE FROM budget_windows")
    _, previewed = await budgets.preview(make_reservation().payer, FIXED)
    assert [window.reserved_nano for window in previewed] == [0]


async def test_what_was_committed_for_a_caller_who_was_told_it_failed_is_released(db: Database) -> None:
    budget_id = await make_budget(db)
    budgets = await started(db)
    await reserve(budgets)
    _, lost = await reserve(budgets)
    budgets._holds.forget(lost.id)  # as if the commit had come through after the release

    await budgets.lease.release_strays(budgets._holds, budgets.release)
    await drain(budgets)

    assert await windows(db, budget_id) == [(0, 9_000)]
    assert await open_reservations(db) == 1


@pytest.mark.parametrize("answer", [None, StoredAnswer(200, [], b"{}")])
async def test_what_could_not_be_written_keeps_its_reservation(db: Database, answer: StoredAnswer | None) -> None:
    budget_id = await make_budget(db)
    budgets = await started(db)
    _, entry = await reserve(budgets)

    budgets.settle(entry._replace(model="a\0model"), answer)
    await budgets._ledger.drain()
    await budgets.lease.release_strays(budgets._holds, budgets.release)
    await drain(budgets)

    assert await windows(db, budget_id) == [(0, 9_000)]


async def test_settlements_and_reservations_of_two_processes_cross_without_a_deadlock(db: Database) -> None:
    scopes = [("organization", None), ("project", "proj_default"), ("user", "user_ada"), ("api_key", "key_test")]
    ids = [
        await make_budget(db, scope=scope, scope_id=scope_id, limit_nano=10**12, model=model)
        for scope, scope_id in scopes
        for model in (None, "gpt-*")
    ]
    gateways = [await started(db) for _ in range(3)]

    async def call(number: int) -> None:
        budgets = gateways[number % 3]
        _, entry = await reserve(budgets, user_id="user_ada" if number % 2 else None)
        budgets.settle(entry)

    await asyncio.gather(*(call(number) for number in range(300)))
    for budgets in gateways:
        await budgets._ledger.drain()

    expected = [600_000, 600_000, 600_000, 600_000, 300_000, 300_000, 600_000, 600_000]
    assert [await windows(db, budget_id) for budget_id in ids] == [[(spent, 0)] for spent in expected]
    assert len(await ledger_rows(db)) == 300


async def test_budgets_are_measured_by_the_clock_of_the_database(db: Database) -> None:
    await make_budget(db, period="day")
    budgets = await started(db)
    budgets.lease._clock = lambda: utc_now() - timedelta(days=400)

    grant, _ = await reserve(budgets)

    async with db.hot_connection() as connection:
        query = "SELECT starts_at <= now() AND now() < ends_at FROM budget_windows WHERE id = $1"
        assert await connection.fetchval(query, grant.window_ids[0])


async def test_a_budget_that_is_made_while_a_call_is_written_is_not_missed(db: Database) -> None:
    budgets = await started(db)
    await reserve(budgets)
    async with db.hot_connection() as maker:
        making = maker.transaction()
        await making.start()
        await maker.execute("UPDATE budget_versions SET version = version + 1")
        await maker.execute("LOCK TABLE reservations IN SHARE ROW EXCLUSIVE MODE")
        await maker.execute(
            "INSERT INTO budgets (id, name, scope, period, time_zone, limit_nano, mode, version) "
            "VALUES ('bud_new', 'New', 'organization', 'month', 'UTC', 90000, 'enforcing', 1)"
        )
        writing = asyncio.create_task(reserve(budgets))

        async def is_waiting() -> bool:
            query = "SELECT count(*) FROM pg_locks WHERE relation = 'reservations'::regclass AND NOT granted"
            return bool(await maker.fetchval(query))

        await until(is_waiting)
        await making.commit()
        await writing
    assert await windows(db, "bud_new") == [(0, 9_000)]


async def test_a_look_at_budgets_while_a_call_is_written_hides_no_new_one_from_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_budget(db)
    budgets = await started(db)
    claim_keys = budgets._claim_keys
    made: list[str] = []
    looks: list[asyncio.Task[Any]] = []

    async def look_meanwhile(*group: Any) -> None:
        await claim_keys(*group)
        if not made:
            made.append(await make_budget(db, scope="api_key", scope_id="key_test"))
            looks.append(asyncio.create_task(budgets.preview(make_reservation().payer, FIXED)))
            await until(look_waits)  # for the windows that this group has locked

    async def look_waits() -> bool:
        async with db.hot_connection() as connection:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool(await connection.fetchval(query))

    monkeypatch.setattr(budgets, "_claim_keys", look_meanwhile)
    grant, _ = await reserve(budgets)
    await looks[0]

    assert len(grant.window_ids) == 2
    assert await windows(db, made[0]) == [(0, 9_000)]


async def test_callers_that_come_later_count_in_budgets_of_their_own_that_nobody_has_changed(db: Database) -> None:
    of_keys = {key_id: await make_budget(db, scope="api_key", scope_id=key_id) for key_id in ("key_1", "key_2")}
    budgets = await started(db)

    for key_id in ("key_1", "key_2", "key_3", "key_2"):
        grant, _ = await reserve(budgets, key_id=key_id)
        assert len(grant.window_ids) == (key_id in of_keys)

    assert [await windows(db, of_keys[key_id]) for key_id in of_keys] == [[(0, 9_000)], [(0, 18_000)]]
    assert len(budgets._windows._current) == 2


async def test_a_process_that_has_seen_very_many_callers_forgets_them_and_goes_on(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_module, "_SCOPES_MAX", 10)
    ids = [await make_budget(db, scope="api_key", scope_id=f"key_{number}") for number in range(20)]
    budgets = await started(db)

    for number in [*range(20), *range(20)]:
        await reserve(budgets, key_id=f"key_{number}")

    assert [await windows(db, budget_id) for budget_id in ids] == [[(0, 18_000)]] * 20
    assert len(budgets._windows._book._by_scope) <= 12


async def test_a_call_that_cannot_be_written_fails_alone(db: Database) -> None:
    budget_id = await make_budget(db)
    budgets = await started(db)

    asked = [
        make_reservation(process_id=budgets.process_id, model=model) for model in ("gpt-4o", "a\0b", "gpt-4o-mini")
    ]
    answers = await asyncio.gather(*(budgets.reserve(each, FIXED) for each in asked), return_exceptions=True)
    await drain(budgets)

    assert [type(answer) for answer in answers] == [Grant, UntranslatableCharacterError, Grant]
    assert await windows(db, budget_id) == [(0, 18_000)]
    assert await open_reservations(db) == 2


async def test_what_was_swept_and_is_then_given_back_is_corrected(db: Database) -> None:
    budget_id = await make_budget(db)
    sleeper, other = await started(db), await started(db, lease_seconds=0.001)
    _, entry = await reserve(sleeper)

    assert await other.lease.sweep() == 1
    assert await windows(db, budget_id) == [(9_000, 0)]
    for _ in range(2):  # the second time as if the first commit was lost on the way back
        sleeper.release(entry.id)  # it was never sent
        await drain(sleeper)

    assert await windows(db, budget_id) == [(0, 0)]
    assert [(row[1], row[2]) for row in await ledger_rows(db)] == [("orphaned", 9_000), ("released", -9_000)]
