"""What an upstream cost on one day in UTC, to be held against its own bill."""

from datetime import UTC, date, datetime, timedelta

from app.core.clock import utc_now
from app.core.db import Database
from app.ledger.day_service import DayCostService
from app.settings import Settings
from tests.ledger.books import write
from tests.ledger.conftest import done_while_locked, make_entry, open_database


async def test_a_day_is_what_one_upstream_settled_from_midnight_to_midnight_by_the_model_that_answered(
    db: Database,
) -> None:
    day = utc_now().date()
    midnight = datetime.combine(day, datetime.min.time(), UTC)
    last = midnight + timedelta(days=1, microseconds=-1)
    await write(
        db,
        [
            make_entry(settled_at=midnight, cost_nano=1),
            make_entry(settled_at=last, cost_nano=2, ending="estimated", started_at=midnight - timedelta(days=9)),
            make_entry(settled_at=last, cost_nano=100, model="asked", answered_model=None),
            make_entry(settled_at=last, cost_nano=-40, model="asked", answered_model=None, flags=("correction",)),
            make_entry(settled_at=last, cost_nano=0, model="refused", answered_model=None),
            make_entry(settled_at=last, cost_nano=7, upstream="another"),
            make_entry(settled_at=last + timedelta(microseconds=1), cost_nano=1_000),
        ],
    )
    days = DayCostService(db)

    assert await days.sum_by_model("openai", day) == {"gpt-4o-mini-2024-07-18": 3, "asked": 60}
    assert await days.sum_by_model("another", day) == {"gpt-4o-mini-2024-07-18": 7}
    assert await days.sum_by_model("openai", day + timedelta(days=1)) == {"gpt-4o-mini-2024-07-18": 1_000}
    assert await days.sum_by_model("openai", date(2020, 1, 1)) == {}


async def test_adding_up_a_long_day_may_take_longer_than_other_statements(db: Database, settings: Settings) -> None:
    hasty = open_database(settings, statement_timeout_seconds=0.2)
    await write(db, [make_entry(cost_nano=1)])

    costs = DayCostService(hasty).sum_by_model("openai", utc_now().date())

    assert await done_while_locked(db, "ledger_entries", costs) == {"gpt-4o-mini-2024-07-18": 1}
    await hasty.close()
