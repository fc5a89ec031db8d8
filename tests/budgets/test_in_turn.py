"""Two who want the same at the same moment take turns: the second sees what the first has done."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from app.budgets import repository, windows_repository
from app.budgets.admission import CurrentWindows, Demand
from app.budgets.reservation import WITHHELD, Hold, Move, Moves, moves_of
from app.core.db import Database, HotConnection
from app.core.money import Nano
from tests.budgets.conftest import (
    FIXED,
    ledger_rows,
    make_budget,
    make_entry,
    make_reservation,
    open_budgets,
    open_reservations,
)
from tests.fixtures.waiting import until

Step = Callable[[HotConnection], Awaitable[object]]
HOUR = timedelta(hours=1)
LIMIT = 100_000


async def is_waiting(db: Database) -> bool:
    """Tell whether somebody waits for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with db.hot_connection() as connection:
        return bool(await connection.fetchval(query))


async def apart(db: Database, step: Step) -> object:
    async with db.hot_connection() as connection:
        return await step(connection)


async def in_turn(db: Database, first: Step, second: Step) -> tuple[object, object]:
    """Do *second* while what *first* did is not committed, and return what both answer."""
    async with db.hot_connection() as connection:
        async with connection.transaction():
            one = await first(connection)
            waiting = asyncio.create_task(apart(db, second))
            await until(lambda: is_waiting(db))
        return one, await waiting


async def two_windows(db: Database) -> list[int]:
    """Make two budgets and their windows, the first of which lies behind the second in the table; return their ids."""
    for _ in range(2):
        await make_budget(db, limit_nano=LIMIT)
    budgets = open_budgets(db)
    await budgets.lease.beat()
    await budgets.reserve(make_reservation(process_id=budgets.process_id), Demand(Nano(0), Nano(0), Nano(0)))
    async with db.hot_connection() as connection:
        await connection.execute("DELETE FROM reservations")
        ids = [row[0] for row in await connection.fetch("SELECT id FROM budget_windows ORDER BY id")]
        await connection.execute("UPDATE budget_windows SET extra_nano = 0 WHERE id = $1", ids[0])
    return ids


async def balances(db: Database) -> list[tuple[int, int]]:
    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT spent_nano, reserved_nano FROM budget_windows ORDER BY id")
    return [tuple(row) for row in rows]


async def writing(db: Database, ids: list[int], nano: int) -> Step:
    """Return what reserves *nano* at once in these windows, given in the wrong order."""
    async with db.hot_connection() as connection:
        version, now = await windows_repository.get_version(connection)
    believed = CurrentWindows(version, now - HOUR, now + HOUR, dict.fromkeys(ids, Nano(LIMIT)))
    moves = dict.fromkeys(reversed(ids), Move(reserved_nano=nano))
    reservation = make_reservation(ceiling_nano=Nano(nano), budget_window_ids=tuple(ids))

    async def step(connection: HotConnection) -> bool:
        return await repository.write_if_room(connection, believed, moves, [reservation])

    return step


async def settling(db: Database, **changes: object) -> Step:
    """Reserve, and return what settles that at once, given the windows in the wrong order."""
    budgets = open_budgets(db)
    await budgets.lease.beat()
    reservation = make_reservation(process_id=budgets.process_id)
    grant = await budgets.reserve(reservation, FIXED)
    assert grant is not None
    held = {"ceiling_nano": grant.ceiling_nano, "budget_window_ids": grant.window_ids}
    entry = make_entry(id=reservation.id, cost_nano=Nano(2_000), **held, **changes)
    moved = moves_of([entry], {entry.id: Hold(grant.ceiling_nano, grant.window_ids)})
    moves: Moves = dict(sorted(moved.items(), reverse=True))

    async def step(connection: HotConnection) -> bool:
        return await repository.settle_if_open(connection, [entry], moves)

    return step


async def test_of_two_groups_that_take_all_that_is_left_one_is_written(db: Database) -> None:
    ids = await two_windows(db)
    answers = await in_turn(db, await writing(db, ids, LIMIT), await writing(db, ids, LIMIT))
    assert answers == (True, False)
    assert (await balances(db), await open_reservations(db)) == ([(0, LIMIT)] * 2, 1)


async def test_the_same_settlement_twice_at_once_is_charged_once(db: Database) -> None:
    await two_windows(db)
    settle = await settling(db)
    assert await in_turn(db, settle, settle) == (True, False)
    assert (await balances(db), len(await ledger_rows(db))) == ([(2_000, 0)] * 2, 1)


async def test_what_an_estimate_may_be_too_low_by_is_withheld_in_the_same_statement(db: Database) -> None:
    await two_windows(db)
    assert await apart(db, await settling(db, flags=(WITHHELD,)))
    assert await balances(db) == [(2_000, 0)] * 2
    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT withheld_nano FROM budget_windows")
    assert [row[0] for row in rows] == [7_000] * 2


async def test_a_sweep_does_not_wait_for_a_settlement_and_leaves_it_its_reservation(db: Database) -> None:
    await two_windows(db)
    settle = await settling(db)
    sweeper = open_budgets(db)
    sweeper.lease._settings = sweeper._settings.model_copy(update={"lease_seconds": 0.0})
    async with db.hot_connection() as connection, connection.transaction():
        assert await settle(connection)
        async with asyncio.timeout(20):
            assert await sweeper.lease.sweep() == 0
    assert (await balances(db), len(await ledger_rows(db))) == ([(2_000, 0)] * 2, 1)


async def locking(db: Database, ids: list[int]) -> Step:
    async def step(connection: HotConnection) -> object:
        async with connection.transaction():
            return await windows_repository.lock_windows(connection, reversed(ids))

    return step


async def moving(db: Database, ids: list[int]) -> Step:
    moves = dict.fromkeys(reversed(ids), Move(spent_nano=1))

    async def step(connection: HotConnection) -> None:
        await windows_repository.move(connection, moves)

    return step


async def reserving(db: Database, ids: list[int]) -> Step:
    return await writing(db, ids, 1)


async def settling_them(db: Database, ids: list[int]) -> Step:
    return await settling(db)


@pytest.mark.parametrize("prepare", [locking, moving, reserving, settling_them])
async def test_windows_are_locked_in_the_order_of_their_ids(
    db: Database, prepare: Callable[[Database, list[int]], Awaitable[Step]]
) -> None:
    ids = await two_windows(db)
    step = await prepare(db, ids)
    lock = "SELECT FROM budget_windows WHERE id = $1 FOR UPDATE"

    async with db.hot_connection() as connection:
        async with connection.transaction():
            await connection.execute(lock, ids[0])
            waiting = asyncio.create_task(apart(db, step))
            await until(lambda: is_waiting(db))
            try:
                await connection.execute(f"{lock} NOWAIT", ids[1])
            except asyncpg.LockNotAvailableError:
                pytest.fail("the second window was locked before the first")
        await waiting
