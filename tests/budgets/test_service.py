"""Nothing is sent without a committed reservation, and each one ends exactly once, whoever ends it."""

import asyncio
from collections.abc import Iterable
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from app.budgets import repository
from app.budgets.admission import Demand
from app.budgets.hold_service import Holds
from app.budgets.service import BudgetService
from app.core.db import Database, DatabaseUnavailable
from app.ledger.entries import Entry
from app.settings import Settings
from tests.budgets.conftest import (
    FIXED,
    ledger_rows,
    make_entry,
    make_reservation,
    open_budgets,
    open_reservations,
)
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.waiting import until
from tests.ledger.conftest import open_database, open_ledger

DEAD = 0.0
"""A lease that nobody keeps."""


async def reserved(budgets: BudgetService, **changes: object) -> Entry:
    """Reserve, and return the entry that settles it."""
    reservation = make_reservation(process_id=budgets.process_id, **changes)
    demand = Demand(reservation.ceiling_nano, reservation.ceiling_nano, reservation.ceiling_nano)
    await budgets.reserve(reservation, demand)
    return make_entry(id=reservation.id, request_id=reservation.request_id)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def settle(budgets: BudgetService, *entries: Entry) -> None:
    for entry in entries:
        budgets.settle(entry)
    await budgets._ledger.drain()


async def beats(db: Database, budgets: BudgetService) -> bool:
    """Tell whether its process is in the database."""
    async with db.hot_connection() as connection:
        query = "SELECT count(*) FROM processes WHERE id = $1"
        return bool(await connection.fetchval(query, budgets.process_id))


async def sweep(db: Database, *, lease_seconds: float) -> int:
    """Sweep as another process, to which every heartbeat older than *lease_seconds* is a death."""
    other = open_budgets(db)
    other.lease._settings = other._settings.model_copy(update={"lease_seconds": lease_seconds})
    return await other.lease.sweep()


async def test_a_reservation_is_there_before_and_gone_after_its_settlement(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    entry = await reserved(budgets)
    assert await open_reservations(db) == 1

    await settle(budgets, entry)

    assert await open_reservations(db) == 0
    assert await ledger_rows(db) == [(entry.request_id, "settled", 5_700, [])]


async def test_a_hundred_reservations_at_once_are_each_settled_once(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    entries = await asyncio.gather(*(reserved(budgets) for _ in range(100)))
    assert await open_reservations(db) == 100

    await settle(budgets, *entries)

    assert await open_reservations(db) == 0
    assert sorted(row[0] for row in await ledger_rows(db)) == sorted(entry.request_id for entry in entries)


async def test_what_is_released_leaves_no_entry(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    entry = await reserved(budgets)

    budgets.release(entry.id)
    await budgets._releasing.drain()

    assert await open_reservations(db) == 0
    assert await ledger_rows(db) == []


async def test_a_settlement_that_is_sent_twice_is_written_once(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    entry = await reserved(budgets)

    await settle(budgets, entry)
    await settle(budgets, entry)

    assert len(await ledger_rows(db)) == 1


async def test_the_living_are_not_swept(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    await reserved(budgets)

    assert await sweep(db, lease_seconds=60) == 0
    assert await open_reservations(db) == 1


async def test_the_dead_are_charged_their_ceilings_and_forgotten(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    entry = await reserved(budgets, ceiling_nano=9_000)

    with capture_logs() as lines:
        assert await sweep(db, lease_seconds=DEAD) == 1

    assert await ledger_rows(db) == [(entry.request_id, "orphaned", 9_000, ["orphaned"])]
    assert [line["count"] for line in lines if line["event"] == "reservations_orphaned"] == [1]
    assert not await beats(db, budgets)


async def test_each_beat_keeps_a_process_alive_from_then_on(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    await reserved(budgets)
    async with db.hot_connection() as connection:
        await connection.execute("UPDATE processes SET heartbeat_at = now() - interval '1 hour'")

    await budgets.lease.beat()

    assert await sweep(db, lease_seconds=60) == 0
    assert await open_reservations(db) == 1


async def test_what_a_process_left_that_has_never_beaten_or_has_signed_off_is_swept_too(db: Database) -> None:
    silent, gone = open_budgets(db), open_budgets(db)
    await reserved(silent)
    await gone.lease.beat()
    await reserved(gone)
    await gone.close()

    await sweep(db, lease_seconds=60)  # and perhaps the Weir of other tests does too

    async def is_nothing_open() -> bool:
        return await open_reservations(db) == 0

    await until(is_nothing_open)
    assert [ending for _, ending, _, _ in await ledger_rows(db)] == ["orphaned"] * 2


async def test_a_process_that_was_taken_for_dead_corrects_the_charge(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    entry = await reserved(budgets, ceiling_nano=9_000)
    await sweep(db, lease_seconds=DEAD)

    await settle(budgets, entry)
    await settle(budgets, entry)

    rows = sorted(await ledger_rows(db), key=lambda row: row[1])
    assert [(row[1], row[2], row[3]) for row in rows] == [
        ("orphaned", 9_000, ["orphaned"]),
        ("settled", -3_300, ["correction"]),
    ]
    assert sum(row[2] for row in rows) == entry.cost_nano


async def test_two_sweepers_at_once_charge_each_orphan_once(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    await asyncio.gather(*(reserved(budgets) for _ in range(1_200)))

    swept = await asyncio.gather(*(sweep(db, lease_seconds=DEAD) for _ in range(3)))

    assert sum(swept) == 1_200
    assert len({row[0] for row in await ledger_rows(db)}) == len(await ledger_rows(db)) == 1_200
    assert await open_reservations(db) == 0


async def test_a_settlement_that_races_the_sweep_is_charged_once(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    entries = await asyncio.gather(*(reserved(budgets) for _ in range(200)))

    await asyncio.gather(settle(budgets, *entries), sweep(db, lease_seconds=DEAD))

    charged: dict[str, int] = {}
    for request_id, _, cost, _ in await ledger_rows(db):
        charged[request_id] = charged.get(request_id, 0) + cost
    assert charged == {entry.request_id: entry.cost_nano for entry in entries}


async def test_a_caller_who_leaves_while_it_is_reserved_leaves_nothing_open(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    reserving = asyncio.create_task(budgets.reserve(make_reservation(process_id=budgets.process_id), FIXED))
    await asyncio.sleep(0)
    reserving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reserving

    await budgets._reserving.drain()
    await asyncio.sleep(0)
    await budgets._releasing.drain()

    assert await open_reservations(db) == 0


async def test_a_process_beats_and_signs_off(db: Database) -> None:
    budgets = open_budgets(db)

    keeping = asyncio.create_task(budgets.keep_alive())
    await until(lambda: beats(db, budgets))
    await stop(keeping)
    await budgets.close()

    assert not await beats(db, budgets)


async def test_without_a_database_nothing_is_reserved_and_nothing_stays_open(
    own_postgres: OwnServer, own_settings: Settings
) -> None:
    db = open_database(own_settings, connect_timeout_seconds=0.5)
    await open_ledger(db).create_partitions()
    budgets = open_budgets(db)
    await budgets.lease.beat()
    own_postgres.kill()

    with pytest.raises(DatabaseUnavailable):
        await reserved(budgets)
    db._health.up()
    await until(lambda: not db._health.is_up)  # the release was tried
    own_postgres.start()
    await budgets._releasing.drain()

    assert await open_reservations(db) == 0
    await db.close()


async def test_a_process_goes_on_beating_when_the_database_is_back(
    own_postgres: OwnServer, own_settings: Settings
) -> None:
    db = open_database(own_settings, connect_timeout_seconds=0.5)
    budgets = open_budgets(db)
    budgets.lease._settings = budgets._settings.model_copy(update={"heartbeat_interval_seconds": 0.01})
    own_postgres.kill()
    keeping = asyncio.create_task(budgets.keep_alive())
    await until(lambda: not db._health.is_up)
    own_postgres.start()

    await until(lambda: db._health.is_up)
    await until(lambda: beats(db, budgets))
    await stop(keeping)
    await db.close()


class SeenHolds(Holds):
    """Tells when strays are looked for: what comes before that in a round is done."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = asyncio.Event()

    def find_unknown(self, open_ids: Iterable[UUID]) -> list[UUID]:
        self.looked.set()
        return super().find_unknown(open_ids)


async def pass_without_beats(db: Database, *budgets: BudgetService) -> None:
    """Let an hour pass on the database's clock since the last beats of these."""
    async with db.hot_connection() as connection:
        await connection.execute(
            "UPDATE processes SET heartbeat_at = heartbeat_at - interval '1 hour' WHERE id = ANY($1)",
            [each.process_id for each in budgets],
        )


async def test_when_the_clock_jumps_or_all_were_asleep_the_others_get_the_time_to_beat(own_settings: Settings) -> None:
    db = open_database(own_settings)
    await open_ledger(db).create_partitions()
    other, budgets, holds = open_budgets(db), open_budgets(db, heartbeat_interval_seconds=1.0), SeenHolds()

    async def has_swept() -> bool:
        return await open_reservations(db) == 0

    await other.lease.beat()
    await reserved(other)
    await pass_without_beats(db, other)  # while the database was away, say
    keeping = asyncio.create_task(budgets.lease.keep(holds, budgets.release))
    await holds.looked.wait()
    assert not await has_swept()  # by one that has just begun
    await until(has_swept)

    await other.lease.beat()
    await reserved(other)
    holds.looked.clear()
    await holds.looked.wait()
    await pass_without_beats(db, other, budgets)
    holds.looked.clear()
    await holds.looked.wait()
    assert not await has_swept()
    await until(has_swept)
    await stop(keeping)
    await db.close()


async def test_after_an_outage_the_others_get_the_time_to_beat_before_they_are_taken_for_dead(
    own_postgres: OwnServer, own_settings: Settings
) -> None:
    db = open_database(own_settings, connect_timeout_seconds=0.5)
    await open_ledger(db).create_partitions()
    other = open_budgets(db)
    await other.lease.beat()
    await reserved(other)
    budgets = open_budgets(db, lease_seconds=0.001, heartbeat_interval_seconds=2.0)
    own_postgres.kill()
    keeping = asyncio.create_task(budgets.keep_alive())
    await until(lambda: not db._health.is_up)
    own_postgres.start()

    async def has_swept() -> bool:
        return await open_reservations(db) == 0

    await until(lambda: beats(db, budgets))
    assert not await has_swept()
    await until(has_swept)
    await stop(keeping)
    await db.close()


async def test_a_process_that_cannot_sign_off_says_so_and_ends(own_postgres: OwnServer, own_settings: Settings) -> None:
    db = open_database(own_settings, connect_timeout_seconds=0.5)
    budgets = open_budgets(db)
    own_postgres.kill()

    with capture_logs() as lines:
        await budgets.close()

    assert "process_not_signed_off" in [line["event"] for line in lines]
    await db.close()


async def test_a_sweep_that_fails_is_logged_and_tried_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = open_budgets(db)
    budgets.lease._settings = budgets._settings.model_copy(update={"heartbeat_interval_seconds": 0.01})
    async with db.hot_connection() as connection:
        await connection.execute("ALTER TABLE processes RENAME TO hidden")
    try:
        with capture_logs() as lines:
            keeping = asyncio.create_task(budgets.keep_alive())
            await until(lambda: len([line for line in lines if line["event"] == "sweep_failed"]) > 1)
    finally:
        async with db.hot_connection() as connection:
            await connection.execute("ALTER TABLE hidden RENAME TO processes")

    await until(lambda: beats(db, budgets))
    await stop(keeping)


async def test_sweeping_uses_an_index(db: Database) -> None:
    async with db.hot_connection() as connection:
        await connection.execute("SET enable_seqscan = off")
        plan = await connection.fetch(f"EXPLAIN {repository._SWEEP}", 1.0, 10)
        await connection.execute("RESET enable_seqscan")
    assert "Seq Scan" not in "\n".join(row[0] for row in plan)
