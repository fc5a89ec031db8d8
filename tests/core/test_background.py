"""Work in the background goes on whatever goes wrong, and says so as often as somebody wants to read it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from structlog.testing import capture_logs

from app.core.background import delete_all, keep_doing, keep_purged, keep_up
from app.core.db import Database, DatabaseUnavailable, HotConnection
from app.core.health import Dependency
from app.settings import Settings
from tests.fixtures.waiting import PATIENCE_SECONDS

AWAY = DatabaseUnavailable("it is away")
BUG = ValueError("nobody foresaw this")
WELL = None

Loop = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]


async def reasons_logged(loop: Loop, outcomes: Sequence[Exception | None]) -> list[str]:
    """Return what is logged while the work in *loop* has *outcomes*, one after the other."""
    left, is_over = list(outcomes), asyncio.Event()

    async def work() -> None:
        if not left:
            is_over.set()
        elif (failure := left.pop(0)) is not None:
            raise failure

    with capture_logs() as lines:
        working = asyncio.ensure_future(loop(work))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await is_over.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    assert {(line["event"], line["log_level"]) for line in lines} <= {("not_done", "warning")}
    return [line["reason"] for line in lines]


async def test_work_that_fails_is_tried_again_and_said_once_until_it_is_well() -> None:
    outcomes = [AWAY, BUG, WELL, WELL, BUG, BUG]
    reasons = await reasons_logged(lambda work: keep_doing(work, 0.0, failed="not_done"), outcomes)
    assert [reason.partition(":")[0] for reason in reasons] == ["DatabaseUnavailable", "ValueError"]


async def test_a_purge_that_fails_is_tried_again_and_said_unless_the_database_is_away() -> None:
    outcomes = [AWAY, BUG, BUG, WELL, AWAY]
    reasons = await reasons_logged(lambda purge: keep_purged(purge, 0.0, failed="not_done"), outcomes)
    assert reasons == ["ValueError: nobody foresaw this"] * 2


@pytest.mark.parametrize("rows", [0, 3, 4])
async def test_everything_is_deleted_a_part_at_a_time(settings: Settings, rows: int) -> None:
    assert settings.database_url is not None
    db = Database(settings.database_url.get_secret_value(), settings.database, Dependency("database"))
    parts: list[int] = []

    async def delete(connection: HotConnection, rows_max: int) -> int:
        statement = "SELECT least($1::int, $2::int)"
        parts.append(await connection.fetchval(statement, rows - sum(parts), rows_max))
        return parts[-1]

    try:
        assert await delete_all(db, delete, 2) == rows
    finally:
        await db.close()
    assert parts == {0: [0], 3: [2, 1], 4: [2, 2, 0]}[rows]


async def test_work_that_fails_is_logged_in_full_and_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.background._BEGIN_AGAIN_SECONDS", 0.001)
    left = [BUG, AWAY]

    async def some_work() -> None:
        if left:
            raise left.pop(0)

    with capture_logs() as lines:
        await keep_up(some_work)

    assert [(line["event"], line["work"].rpartition(".")[2], line["exc_info"]) for line in lines] == [
        ("background_work_failed", "some_work", True)
    ] * 2
