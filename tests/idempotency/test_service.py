"""Keys in the table: who may claim one, and when they go."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from app.budgets.admission import Grant
from app.core.db import Database
from app.core.ids import new_uuid7
from app.errors import InvalidRequest
from app.idempotency import service as idempotency
from app.idempotency.key import KeyClaim, Placed, StoredAnswer, read_key
from app.idempotency.service import IdempotencyService
from app.money_errors import IdempotencyKeyInUse, IdempotencyKeyReused
from app.setting_groups import Idempotency
from app.settings import Settings
from tests.budgets.conftest import FIXED, make_reservation, open_budgets
from tests.fixtures.emptying import empty
from tests.fixtures.waiting import until
from tests.ledger.conftest import open_database, open_ledger

ANSWER = StoredAnswer(200, [(b"content-type", b"text/event-stream")], b"data: \xff\x00\n\n")


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    db = open_database(settings)
    await open_ledger(db).create_partitions()
    async with db.hot_connection() as connection:
        await empty(connection, "processes")
    yield db
    await db.close()


def place(key: str = "order-1", reservation_id: UUID | None = None, body: bytes = b"{}") -> Placed:
    claim = read_key([key], "key_test", "/chat/completions", body)
    assert claim is not None
    return Placed(reservation_id or new_uuid7(0), "req_1", claim)


async def claim(db: Database, *placed: Placed, **changes: Any) -> list[bool]:
    service = IdempotencyService(db, Idempotency(**changes))
    async with db.hot_connection() as connection, connection.transaction():
        claimed = await service.claim(connection, placed)
    return [each.reservation_id in claimed for each in placed]


async def test_a_kept_answer_comes_back_byte_for_byte(db: Database) -> None:
    service, placed = IdempotencyService(db, Idempotency()), place()
    assert await service.find(placed.claim) is None
    assert await claim(db, placed) == [True]
    async with db.hot_connection() as connection:
        await service.store(connection, {placed.reservation_id: ANSWER})
    assert await service.find(placed.claim) == ("req_1", ANSWER)
    with pytest.raises(IdempotencyKeyReused):
        await service.find(place(body=b"{ }").claim)


async def test_an_answer_that_has_expired_is_not_given_again_and_its_key_is_free(db: Database) -> None:
    service, placed = IdempotencyService(db, Idempotency()), place()
    await claim(db, placed)
    async with db.hot_connection() as connection:
        await service.store(connection, {placed.reservation_id: ANSWER})
    assert await claim(db, place()) == [False]
    async with db.hot_connection() as connection:
        await connection.execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")

    assert await service.find(placed.claim) is None
    assert await claim(db, place()) == [True]
    assert await service.find(placed.claim) is None


async def test_a_key_is_in_use_as_long_as_its_reservation_is_open(db: Database) -> None:
    service, budgets = IdempotencyService(db, Idempotency()), open_budgets(db)
    await budgets.lease.beat()
    reservation = make_reservation(process_id=budgets.process_id)
    running: KeyClaim = place().claim
    await budgets.reserve(reservation, FIXED, running)
    with pytest.raises(IdempotencyKeyInUse):
        await service.find(running)
    assert await claim(db, place()) == [False]
    assert await budgets.reserve(make_reservation(process_id=budgets.process_id), FIXED, running) is None

    budgets.release(reservation.id)
    await budgets._releasing.drain()

    assert await service.find(running) is None
    assert await claim(db, place()) == [True]


async def test_a_key_is_claimed_also_in_a_group_with_calls_that_have_none(db: Database) -> None:
    budgets = open_budgets(db)
    await budgets.lease.beat()
    keyed: KeyClaim = place().claim

    def reserve(claim: KeyClaim | None = None) -> Awaitable[Grant | None]:
        return budgets.reserve(make_reservation(process_id=budgets.process_id), FIXED, claim)

    await reserve()  # from here on there is a shorter way, for calls without keys
    answers = await asyncio.gather(reserve(), reserve(), reserve(keyed), reserve())

    assert all(answers)
    assert await reserve(keyed) is None


async def test_a_key_whose_process_died_is_free_once_it_is_swept(db: Database) -> None:
    budgets, other = open_budgets(db), open_budgets(db, lease_seconds=0.001)
    await budgets.lease.beat()
    await budgets.reserve(make_reservation(process_id=budgets.process_id), FIXED, place().claim)
    assert await claim(db, place()) == [False]
    await other.lease.sweep()
    assert await claim(db, place()) == [True]


async def test_of_several_claims_to_one_key_the_first_counts(db: Database) -> None:
    assert await claim(db, place(), place("order-2"), place()) == [True, True, False]


async def test_many_claimants_of_a_free_key_do_not_share_it(db: Database) -> None:
    gateways = [open_budgets(db) for _ in range(4)]
    for gateway in gateways:
        await gateway.lease.beat()
    await claim(db, place())  # its call has left nothing behind

    async def reserve(number: int) -> bool:
        budgets = gateways[number % 4]
        return await budgets.reserve(make_reservation(process_id=budgets.process_id), FIXED, place().claim) is not None

    assert sorted(await asyncio.gather(*(reserve(number) for number in range(40)))) == [False] * 39 + [True]


async def test_what_has_expired_is_deleted_unless_its_call_is_open(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "_PURGE_ROWS", 2)
    budgets = open_budgets(db)
    await budgets.lease.beat()
    await budgets.reserve(make_reservation(process_id=budgets.process_id), FIXED, place("open").claim)
    await claim(db, *(place(f"old-{number}") for number in range(5)))
    async with db.hot_connection() as connection:
        await connection.execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    await claim(db, place("new"))

    assert await IdempotencyService(db, Idempotency()).purge() == 5

    async with db.hot_connection() as connection:
        rows = await connection.fetch("SELECT key FROM idempotency_keys ORDER BY key")
    assert [row[0] for row in rows] == ["new", "open"]


async def test_purging_goes_on_after_a_failure(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "_PURGE_SECONDS", 0.01)
    await claim(db, place())
    async with db.hot_connection() as connection:
        await connection.execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
        await connection.execute("ALTER TABLE idempotency_keys RENAME TO hidden")
    with capture_logs() as lines:
        purging = asyncio.create_task(IdempotencyService(db, Idempotency()).keep_purged())
        await until(lambda: "idempotency_keys_not_purged" in [line["event"] for line in lines])
    async with db.hot_connection() as connection:
        await connection.execute("ALTER TABLE hidden RENAME TO idempotency_keys")

    async def is_empty() -> bool:
        async with db.hot_connection() as connection:
            return not await connection.fetchval("SELECT count(*) FROM idempotency_keys")

    await until(is_empty)
    purging.cancel()
    await asyncio.gather(purging, return_exceptions=True)


async def test_purging_waits_for_a_database_that_is_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "_PURGE_SECONDS", 0.01)
    away = open_database(settings, connect_timeout_seconds=0.5)
    away._url = "postgresql://weir@127.0.0.1:1/weir"
    with capture_logs() as lines:
        purging = asyncio.create_task(IdempotencyService(away, Idempotency()).keep_purged())
        await until(lambda: not away._health.is_up)
        away._health.up()
        await until(lambda: not away._health.is_up)  # it was tried again
    purging.cancel()
    await asyncio.gather(purging, return_exceptions=True)
    assert "idempotency_keys_not_purged" not in [line["event"] for line in lines]
    await away.close()


def test_without_the_header_there_is_nothing_to_claim() -> None:
    assert read_key([], "key_test", "/chat/completions", b"{}") is None


def test_the_fingerprint_is_of_path_and_body() -> None:
    prints = {
        read_key(["k"], "key_test", path, body).fingerprint  # type: ignore[union-attr]
        for path, body in ((("/a"), b"b"), ("/a", b"c"), ("/ab", b""))
    }
    assert len(prints) == 3


@pytest.mark.parametrize("values", [[""], ["a", "a"], ["x" * 256], ["a\nb"]])
def test_what_is_no_key_is_refused(values: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        read_key(values, "key_test", "/chat/completions", b"{}")
