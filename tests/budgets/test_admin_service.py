"""Budgets that are made, changed and topped up while calls are under way, on a real PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.budgets import admin_repository
from app.budgets.admin_service import BudgetAdminService
from app.budgets.budget import LIMIT_NANO_MAX
from app.budgets.opening_service import OpeningService
from app.budgets.record import IN_FORCE_MAX, BudgetFilter, Editor, NewBudget
from app.budgets.repository import write_group
from app.budgets.service import BudgetService
from app.budgets.windows_repository import get_version
from app.core.db import Database
from app.core.money import Nano
from app.core.pagination import Paging
from app.errors import InvalidRequest, NotFound
from app.keys.caller import Caller
from app.ledger.entries import Entry
from app.money_errors import BudgetSpent
from tests.budgets.conftest import FIXED, ledger_rows, make_budget, make_entry, make_reservation, open_budgets, windows
from tests.fixtures.waiting import until
from tests.ledger.conftest import open_ledger

ADMIN = Editor("key_admin")
COST = 2_000


async def is_known(scope_id: str) -> bool:
    return scope_id in {"proj_default", "proj_other", "key_test"}


def open_admin(db: Database) -> BudgetAdminService:
    openings = OpeningService(db, open_ledger(db))
    return BudgetAdminService(db, openings, {"project": is_known, "api_key": is_known})


def new_budget(**changes: Any) -> NewBudget:
    budget = NewBudget("A team's", "organization", None, None, "month", "UTC", Nano(10**9), "enforcing")
    return budget._replace(**changes)


async def started(db: Database) -> BudgetService:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    return budgets


async def reserve(budgets: BudgetService, **changes: Any) -> Entry:
    """Reserve, and return the entry that settles it."""
    reservation = make_reservation(process_id=budgets.process_id, **changes)
    await budgets.reserve(reservation, FIXED)
    return make_entry(
        id=reservation.id,
        model=reservation.model,
        project_id=reservation.project_id,
        user_id=reservation.user_id,
        key_id=reservation.key_id,
        started_at=reservation.started_at,
        cost_nano=Nano(COST),
    )


async def settle(budgets: BudgetService, *entries: Entry) -> None:
    for entry in entries:
        budgets.settle(entry)
    await budgets._ledger.drain()


async def spend(budgets: BudgetService, **changes: Any) -> None:
    await settle(budgets, await reserve(budgets, **changes))


async def test_a_budget_made_in_the_midst_of_its_window_counts_what_was_spent_and_what_is_held(db: Database) -> None:
    budgets, admin = await started(db), open_admin(db)
    await spend(budgets)
    under_way = await reserve(budgets)

    made = await admin.create(new_budget(), "key_admin")

    assert (made.window.opening_nano, made.window.spent_nano, made.window.reserved_nano) == (COST, COST, 9_000)
    assert made.record.version == 1
    await settle(budgets, under_way)
    await spend(budgets)
    assert await windows(db, made.record.id) == [(3 * COST, 0)]
    assert (await admin.get(made.record.id)).window.opening_nano == COST


@pytest.mark.parametrize(
    ("scope", "model"),
    [
        ({}, "gpt-4o*"),
        ({"scope": "project", "scope_id": "proj_default"}, None),
        ({"scope": "user", "scope_id": "user_ada"}, "gpt-?o-mini"),
        ({"scope": "api_key", "scope_id": "key_test"}, "gpt-[34]o-mini"),
    ],
)
async def test_only_calls_of_its_scope_and_model_are_counted(
    db: Database, scope: dict[str, Any], model: str | None
) -> None:
    budgets, admin = await started(db), open_admin(db)
    own = {"project_id": "proj_default", "user_id": "user_ada", "key_id": "key_test", "model": "gpt-4o-mini"}
    other = {"project_id": "proj_other", "user_id": "user_bob", "key_id": "key_other", "model": "o1"}
    for _ in range(2):
        await spend(budgets, **own)
    await spend(budgets, **other)
    under_way = [await reserve(budgets, **whose) for whose in (own, other)]

    made = await admin.create(new_budget(model=model, **scope), "key_admin")

    assert (made.window.opening_nano, made.window.reserved_nano) == (2 * COST, 9_000)
    await settle(budgets, *under_way)
    assert await windows(db, made.record.id) == [(3 * COST, 0)]


@pytest.mark.parametrize("period", ["day", "week", "month"])
async def test_what_began_before_the_window_is_not_counted(db: Database, period: Any) -> None:
    budgets, admin = await started(db), open_admin(db)
    start = (await admin.create(new_budget(period=period, name="first"), "key_admin")).window.starts_at
    await settle(budgets, await reserve(budgets, started_at=start))
    before = await reserve(budgets, started_at=start - timedelta(microseconds=1))

    made = await admin.create(new_budget(period=period), "key_admin")

    assert (made.window.opening_nano, made.window.reserved_nano) == (COST, 0)
    await settle(budgets, before)
    assert len(await ledger_rows(db)) == 2
    assert await windows(db, made.record.id) == [(COST, 0)]


async def test_a_budget_for_all_time_begins_with_nothing(db: Database) -> None:
    budgets, admin = await started(db), open_admin(db)
    await spend(budgets)
    under_way = await reserve(budgets)

    made = await admin.create(new_budget(period="total"), "key_admin")

    assert (made.window.starts_at, made.window.ends_at) == (made.record.created_at, None)
    assert (made.window.opening_nano, made.window.spent_nano, made.window.reserved_nano) == (0, 0, 0)
    await settle(budgets, under_way)
    await spend(budgets)
    assert await windows(db, made.record.id) == [(COST, 0)]


async def test_budgets_made_among_a_thousand_calls_lose_none_and_double_none(db: Database) -> None:
    gateways, admin = [await started(db), await started(db)], open_admin(db)

    async def reserve_many(count: int) -> list[Entry]:
        return await asyncio.gather(*(reserve(gateways[number % 2]) for number in range(count)))

    async def settle_many(entries: list[Entry]) -> None:
        for number, entry in enumerate(entries):
            gateways[number % 2].settle(entry)
            if number % 50 == 0:
                await asyncio.sleep(0)
        for gateway in gateways:
            await gateway._ledger.drain()

    begun = await reserve_many(1_000)
    await settle_many(begun[:100])
    settling = asyncio.create_task(settle_many(begun[100:800]))
    made = [await admin.create(new_budget(limit_nano=Nano(10**12)), "key_admin") for _ in range(3)]
    after = await reserve_many(100)
    await settling
    await settle_many([*begun[800:], *after])

    for each in made:
        assert 100 * COST <= (each.window.opening_nano or 0) <= 800 * COST
        assert await windows(db, each.record.id) == [(1_100 * COST, 0)]


async def test_a_settlement_that_is_not_committed_yet_is_waited_for(db: Database) -> None:
    """The reservation is deleted, its entry is written, and both are seen only after the budget was begun."""
    budgets, admin = await started(db), open_admin(db)
    entry = await reserve(budgets)
    async with db.hot_connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await budgets._settle(connection, [entry])
        creating = asyncio.create_task(admin.create(new_budget(), "key_admin"))
        await until(lambda: _waits_for_a_lock(db))
        await transaction.commit()

    made = await creating
    assert (made.window.opening_nano, made.window.spent_nano, made.window.reserved_nano) == (COST, COST, 0)


async def test_a_reservation_that_is_not_committed_yet_is_waited_for(db: Database) -> None:
    budgets, admin = await started(db), open_admin(db)
    reservation = make_reservation(process_id=budgets.process_id)
    async with db.hot_connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        version, _ = await get_version(connection)
        await write_group(connection, version, {}, [reservation])
        creating = asyncio.create_task(admin.create(new_budget(), "key_admin"))
        await until(lambda: _waits_for_a_lock(db))
        await transaction.commit()

    made = await creating
    assert made.window.reserved_nano == 9_000
    await settle(budgets, make_entry(id=reservation.id, cost_nano=Nano(COST)))
    assert await windows(db, made.record.id) == [(COST, 0)]


async def _waits_for_a_lock(db: Database) -> bool:
    async with db.hot_connection() as connection:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def test_an_opening_that_a_killed_process_left_uncounted_is_counted_once_by_another(db: Database) -> None:
    budgets, admin = await started(db), open_admin(db)
    await spend(budgets)
    async with db.transaction() as tx:  # as far as the process got
        await admin_repository.count_up_version(tx)
        record = await admin._create(tx, new_budget(), "key_admin")
    assert (await admin.get(record.id)).window.opening_nano is None
    stale = await admin.get(record.id)
    await spend(budgets)  # between the two transactions: it counts, and what is counted then does not take its place

    openings = OpeningService(db, open_ledger(db))
    keeping = asyncio.create_task(openings.keep_counted())

    async def is_counted() -> bool:
        return (await admin.get(record.id)).window.opening_nano == COST

    await until(is_counted)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await openings.count(stale.record, stale.window)  # somebody else had begun to count meanwhile
    assert await windows(db, record.id) == [(2 * COST, 0)]


async def test_counting_that_fails_is_logged_and_goes_on_to_be_tried(db: Database) -> None:
    openings = OpeningService(db, open_ledger(db))
    async with db.hot_connection() as connection:
        await connection.execute("ALTER TABLE budget_windows RENAME TO hidden")
    try:
        with capture_logs() as lines:
            keeping = asyncio.create_task(openings.keep_counted())
            await until(lambda: "budget_openings_not_counted" in [line["event"] for line in lines])
            assert not keeping.done()
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    finally:
        async with db.hot_connection() as connection:
            await connection.execute("ALTER TABLE hidden RENAME TO budget_windows")


async def test_every_process_heeds_a_change_from_its_next_call_on(db: Database) -> None:
    budgets, admin = await started(db), open_admin(db)
    made = await admin.create(new_budget(limit_nano=Nano(0)), "key_admin")
    budget_id = made.record.id
    with pytest.raises(BudgetSpent):
        await reserve(budgets)

    await admin.pause(budget_id, ADMIN)
    await spend(budgets)
    await admin.resume(budget_id, ADMIN)
    with pytest.raises(BudgetSpent):
        await reserve(budgets)

    await admin.top_up(budget_id, Nano(9_000 + COST), ADMIN)
    await spend(budgets)
    with pytest.raises(BudgetSpent):
        await reserve(budgets)
    await admin.update(budget_id, {"mode": "observing"}, ADMIN)
    await spend(budgets)
    await admin.update(budget_id, {"mode": "enforcing"}, ADMIN)
    with pytest.raises(BudgetSpent):
        await reserve(budgets)
    await admin.archive(budget_id, ADMIN)
    await spend(budgets)

    assert await windows(db, budget_id) == [(3 * COST, 0)]


async def test_a_call_that_is_under_way_when_a_budget_is_archived_settles_in_it(db: Database) -> None:
    budgets, admin = await started(db), open_admin(db)
    made = await admin.create(new_budget(), "key_admin")
    entry = await reserve(budgets)

    await admin.archive(made.record.id, ADMIN)
    await settle(budgets, entry)

    assert await windows(db, made.record.id) == [(COST, 0)]


async def test_top_ups_at_once_all_count(db: Database) -> None:
    admin = open_admin(db)
    made = await admin.create(new_budget(), "key_admin")

    await asyncio.gather(*(admin.top_up(made.record.id, Nano(100), ADMIN) for _ in range(20)))

    now = await admin.get(made.record.id)
    assert (now.window.extra_nano, now.record.version) == (2_000, 21)


async def test_a_top_up_makes_the_window_that_no_call_has_made_yet(db: Database) -> None:
    admin = open_admin(db)
    made = await admin.create(new_budget(), "key_admin")
    async with db.hot_connection() as connection:
        await connection.execute("UPDATE budget_windows SET starts_at = '2001-01-01', ends_at = '2001-02-01'")
    assert (await admin.get(made.record.id)).window.id is None

    topped = await admin.top_up(made.record.id, Nano(5), ADMIN)

    assert (topped.window.extra_nano, topped.window.opening_nano) == (5, 0)
    assert len((await admin.list_windows(made.record.id, Paging())).items) == 2


@pytest.mark.parametrize("amount_nano", [-(10**9) - 1, LIMIT_NANO_MAX])
async def test_a_top_up_keeps_the_limit_in_its_bounds(db: Database, amount_nano: int) -> None:
    admin = open_admin(db)
    made = await admin.create(new_budget(), "key_admin")

    with pytest.raises(InvalidRequest) as refused:
        await admin.top_up(made.record.id, Nano(amount_nano), ADMIN)

    assert refused.value.param == "amount_usd"
    assert (await admin.get(made.record.id)) == made
    await admin.top_up(made.record.id, Nano(-(10**9)), ADMIN)
    assert (await admin.get(made.record.id)).window.extra_nano == -(10**9)


async def test_as_many_budgets_as_allowed_are_in_force_at_once(db: Database) -> None:
    admin = open_admin(db)
    for number in range(IN_FORCE_MAX - 1):
        await make_budget(db, name=f"number {number}")
    await make_budget(db, scope="user", scope_id="user_ada")

    answers = await asyncio.gather(*(admin.create(new_budget(), "key_admin") for _ in range(3)), return_exceptions=True)

    assert sorted(type(answer).__name__ for answer in answers) == ["InvalidRequest", "InvalidRequest", "Standing"]


async def test_an_archived_budget_makes_room_for_another(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.budgets.admin_service.IN_FORCE_MAX", 1)
    admin = open_admin(db)
    mine = {"scope": "user", "scope_id": "user_ada"}
    first = await admin.create(new_budget(**mine), "key_admin")
    with pytest.raises(InvalidRequest) as refused:
        await admin.create(new_budget(**mine), "key_admin")
    assert refused.value.param == "scope_id"
    await admin.archive(first.record.id, ADMIN)
    await admin.create(new_budget(**mine), "key_admin")


async def test_pages_of_budgets_of_the_same_name_and_moment_miss_none(db: Database) -> None:
    moment = datetime(2026, 11, 22, tzinfo=UTC)
    ids = {await make_budget(db, name="same", created_at=moment) for _ in range(7)}
    admin = open_admin(db)
    for sort in ("created_at", "name"):
        for order in ("asc", "desc"):
            seen: list[str] = []
            has_more, after = True, None
            while has_more:
                page = await admin.list_budgets(BudgetFilter(), sort, Paging(after, 3, order))
                seen += [standing.record.id for standing in page.items]
                has_more, after = page.has_more, seen[-1]
            assert seen == sorted(ids, reverse=order == "desc")


async def test_a_key_sees_the_budgets_that_its_calls_count_in(db: Database) -> None:
    admin = open_admin(db)
    mine = {
        await make_budget(db),
        await make_budget(db, scope="project", scope_id="proj_default"),
        await make_budget(db, scope="user", scope_id="user_ada"),
        await make_budget(db, scope="api_key", scope_id="key_test", model="o*"),
    }
    for scope, scope_id in (("project", "proj_other"), ("user", "user_bob"), ("api_key", "key_other")):
        await make_budget(db, scope=scope, scope_id=scope_id)

    async def seen_by(caller: Caller) -> set[str]:
        return {standing.record.id for standing in (await admin.list_own(caller, Paging(limit=100))).items}

    assert await seen_by(Caller("key_test", "api", "proj_default", None, "user_ada")) == mine
    assert len(await seen_by(Caller("key_third", "api", "proj_third", None))) == 1
    assert len(await seen_by(Caller("key_admin", "admin", None, None))) == 1


async def test_an_unknown_scope_id_is_not_found(db: Database) -> None:
    with pytest.raises(NotFound) as refused:
        await open_admin(db).create(new_budget(scope="project", scope_id="proj_nowhere"), "key_admin")
    assert refused.value.param == "scope_id"


async def test_two_who_replace_a_budget_at_once_make_one(db: Database) -> None:
    admin = open_admin(db)
    made = await asyncio.gather(
        *(admin.create_or_update(new_budget(limit_nano=Nano(number)), ADMIN) for number in range(5))
    )
    assert len({standing.record.id for standing in made}) == 1
    assert max(standing.record.version for standing in made) == 5


async def test_making_a_budget_and_topping_up_others_among_calls_ends_in_no_deadlock(db: Database) -> None:
    budgets, admin = await started(db), open_admin(db)
    others = [await admin.create(new_budget(name=f"{number}", limit_nano=Nano(10**15)), "a") for number in range(3)]

    async def change() -> None:
        for number in range(5):
            await admin.top_up(others[number % 3].record.id, Nano(1), ADMIN)
            await admin.create(new_budget(scope="user", scope_id="user_ada"), "key_admin")

    async with asyncio.timeout(30):
        await asyncio.gather(change(), change(), *(spend(budgets, user_id="user_ada") for _ in range(300)))

    for other in others:
        assert await windows(db, other.record.id) == [(300 * COST, 0)]
