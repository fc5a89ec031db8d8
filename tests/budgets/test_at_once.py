"""Groups that are written in one statement: only as a whole, and only while all is as the process believes."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.budgets import repository
from app.budgets.admission import CurrentWindows, Demand, Grant
from app.budgets.reservation import Hold, Move, Reservation, moves_of
from app.budgets.service import BudgetService
from app.budgets.windows_repository import get_version
from app.core.clock import utc_now
from app.core.db import Database
from app.core.money import Nano
from app.ledger.entries import Entry
from tests.budgets.conftest import (
    FIXED,
    ledger_rows,
    make_budget,
    make_entry,
    make_reservation,
    open_budgets,
    open_reservations,
)

LIMIT = 100_000
HOUR = timedelta(hours=1)


async def a_window(db: Database, **changes: object) -> int:
    """Make a budget of LIMIT and its current window, and return the window's id."""
    await make_budget(db, limit_nano=LIMIT, **changes)
    budgets = open_budgets(db)
    await budgets.reserve(make_reservation(), Demand(Nano(0), Nano(0), Nano(0)))
    async with db.hot_connection() as connection:
        await connection.execute("DELETE FROM reservations")
        window_id: int = await connection.fetchval("SELECT id FROM budget_windows")
    return window_id


async def current(db: Database, window_id: int, limit_nano: int | None = LIMIT) -> CurrentWindows:
    async with db.hot_connection() as connection:
        version, now = await get_version(connection)
    return CurrentWindows(
        version, now - HOUR, now + HOUR, {window_id: None if limit_nano is None else Nano(limit_nano)}
    )


async def write(db: Database, believed: CurrentWindows, *reservations: Reservation) -> bool:
    held = sum(each.ceiling_nano for each in reservations)
    async with db.hot_connection() as connection:
        moves = dict.fromkeys(believed.limits_nano, Move(reserved_nano=held))
        return await repository.write_if_room(connection, believed, moves, reservations)


async def balance(db: Database) -> tuple[int, int, int]:
    async with db.hot_connection() as connection:
        row = await connection.fetchrow("SELECT reserved_nano, spent_nano, withheld_nano FROM budget_windows")
    assert row is not None
    return tuple(row)


def holding(window_id: int, ceiling_nano: int) -> Reservation:
    return make_reservation(ceiling_nano=Nano(ceiling_nano), budget_window_ids=(window_id,))


async def test_a_group_that_takes_all_that_is_left_fits_and_one_nano_more_does_not(db: Database) -> None:
    window_id = await a_window(db)
    believed = await current(db, window_id)
    halves = [holding(window_id, LIMIT // 2), holding(window_id, LIMIT // 2)]

    assert not await write(db, believed, *halves, holding(window_id, 1))
    assert (await balance(db), await open_reservations(db)) == ((0, 0, 0), 0)
    assert await write(db, believed, *halves)
    assert (await balance(db), await open_reservations(db)) == ((LIMIT, 0, 0), 2)
    assert not await write(db, believed, holding(window_id, 1))


@pytest.mark.parametrize("column", ["spent_nano", "withheld_nano", "reserved_nano"])
async def test_what_is_spent_withheld_or_held_leaves_less_room(db: Database, column: str) -> None:
    window_id = await a_window(db)
    async with db.hot_connection() as connection:
        await connection.execute(f"UPDATE budget_windows SET {column} = 1, extra_nano = 0")
    believed = await current(db, window_id)

    assert not await write(db, believed, holding(window_id, LIMIT))
    assert await write(db, believed, holding(window_id, LIMIT - 1))


async def test_what_was_added_to_the_window_makes_room(db: Database) -> None:
    window_id = await a_window(db)
    async with db.hot_connection() as connection:
        await connection.execute("UPDATE budget_windows SET extra_nano = 1")

    assert await write(db, await current(db, window_id), holding(window_id, LIMIT + 1))


async def test_a_budget_that_does_not_refuse_has_room_for_everything(db: Database) -> None:
    window_id = await a_window(db, mode="observing")

    assert await write(db, await current(db, window_id, None), holding(window_id, 10 * LIMIT))
    assert await balance(db) == (10 * LIMIT, 0, 0)


def other_version(believed: CurrentWindows, now: datetime) -> CurrentWindows:
    return believed._replace(version=believed.version - 1)


def over(believed: CurrentWindows, now: datetime) -> CurrentWindows:
    return believed._replace(ends_at=now)


def to_come(believed: CurrentWindows, now: datetime) -> CurrentWindows:
    return believed._replace(starts_at=now + HOUR)


def gone(believed: CurrentWindows, now: datetime) -> CurrentWindows:
    return believed._replace(limits_nano={-1: None})


@pytest.mark.parametrize("wrong", [other_version, over, to_come, gone])
async def test_nothing_is_written_when_what_is_believed_is_wrong(db: Database, wrong: object) -> None:
    window_id = await a_window(db)
    believed = await current(db, window_id)
    assert callable(wrong)

    assert not await write(db, wrong(believed, utc_now()), holding(window_id, 1))

    assert (await balance(db), await open_reservations(db)) == ((0, 0, 0), 0)
    assert await write(db, believed, holding(window_id, 1))


async def test_a_group_that_does_not_fit_as_a_whole_is_admitted_one_by_one(db: Database) -> None:
    budgets = open_budgets(db)
    await make_budget(db, limit_nano=10 * FIXED.ceiling_nano)
    await budgets.lease.beat()
    await budgets.reserve(make_reservation(process_id=budgets.process_id), FIXED)

    answers = await asyncio.gather(
        *(budgets.reserve(make_reservation(process_id=budgets.process_id), FIXED) for _ in range(20)),
        return_exceptions=True,
    )

    assert len([answer for answer in answers if isinstance(answer, Grant)]) == 9
    assert (await balance(db))[0] == 10 * FIXED.ceiling_nano


async def reserved(budgets: BudgetService, count: int) -> list[Entry]:
    """Reserve, and return the entries that settle what was reserved, as a gateway makes them."""
    reservations = [make_reservation(process_id=budgets.process_id) for _ in range(count)]
    grants = await asyncio.gather(*(budgets.reserve(each, FIXED) for each in reservations))
    return [
        make_entry(
            id=reservation.id,
            request_id=reservation.request_id,
            ceiling_nano=grant.ceiling_nano,
            budget_window_ids=grant.window_ids,
        )
        for reservation, grant in zip(reservations, grants, strict=True)
        if grant is not None
    ]


async def settle_at_once(db: Database, entries: list[Entry]) -> bool:
    remembered = {entry.id: Hold(entry.ceiling_nano, entry.budget_window_ids) for entry in entries}
    async with db.hot_connection() as connection:
        return await repository.settle_if_open(connection, entries, moves_of(entries, remembered))


async def test_open_reservations_are_settled_in_one_statement_and_only_once(db: Database) -> None:
    budgets = open_budgets(db)
    await make_budget(db, limit_nano=LIMIT)
    await budgets.lease.beat()
    entries = await reserved(budgets, 3)

    assert await settle_at_once(db, entries)

    spent = (0, 3 * entries[0].cost_nano, 0)
    assert (await balance(db), await open_reservations(db)) == (spent, 0)
    assert not await settle_at_once(db, entries)
    assert (await balance(db), len(await ledger_rows(db))) == (spent, 3)


async def test_nothing_is_settled_at_once_when_one_reservation_is_not_open(db: Database) -> None:
    budgets = open_budgets(db)
    await make_budget(db, limit_nano=LIMIT)
    await budgets.lease.beat()
    entries = await reserved(budgets, 2)
    before = await balance(db)

    assert not await settle_at_once(db, [*entries, make_entry()])

    assert (await balance(db), await open_reservations(db), await ledger_rows(db)) == (before, 2, [])


@pytest.mark.parametrize("wrong", [{"ceiling_nano": Nano(1)}, {"budget_window_ids": ()}])
async def test_nothing_is_settled_at_once_when_a_reservation_holds_something_else(
    db: Database, wrong: dict[str, Any]
) -> None:
    budgets = open_budgets(db)
    await make_budget(db, limit_nano=LIMIT)
    await budgets.lease.beat()
    [entry] = await reserved(budgets, 1)

    assert not await settle_at_once(db, [entry._replace(**wrong)])
    assert await open_reservations(db) == 1
    budgets.settle(entry._replace(**wrong))
    await budgets._ledger.drain()
    assert (await balance(db), await open_reservations(db)) == ((0, entry.cost_nano, 0), 0)
