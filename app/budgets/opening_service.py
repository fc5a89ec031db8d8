"""The first window of a budget counts from its beginning, though the budget is made in the midst of it.

In two transactions. The first makes budget and window, and puts every call under way into the window, while nobody
can reserve or settle: so each call has the window on its reservation, or has settled without it. The second, with a
later snapshot, adds up those that settled without it: none is lost, none is there twice. It may take long; no lock.
"""

import asyncio
from typing import Final

import structlog

from app.budgets import admin_repository, opening_repository
from app.budgets.budget import Scope
from app.budgets.record import BudgetRecord, WindowRecord
from app.core.db import Database, Transaction
from app.ledger.service import LedgerService

_log: Final = structlog.get_logger()
_CHECK_SECONDS: Final = 60.0
_COLUMNS: Final[dict[Scope, str]] = {"project": "project_id", "user": "user_id", "api_key": "key_id"}


class OpeningService:
    """Makes the window that a new budget begins with."""

    def __init__(self, db: Database, ledger: LedgerService) -> None:
        self._db = db
        self._ledger = ledger

    async def begin(self, tx: Transaction, record: BudgetRecord) -> None:
        """Make the window of a budget that is made in this transaction; `count` must follow once it has committed.

        A budget for all time begins with nothing: calls that are under way do not count in it.
        """
        span = record.window_at(record.created_at)
        if record.period == "total":
            await opening_repository.make_window(tx, record.id, span, opening_nano=0)
            return
        await opening_repository.make_window(tx, record.id, span, opening_nano=None)
        window_id = (await admin_repository.find_windows(tx, [(record.id, span)]))[record.id].id
        assert window_id is not None  # noqa: S101 - it was just made
        payer = _payer(record)
        models = [
            model
            for model in await opening_repository.find_open_models(tx, payer, span.starts_at)
            if record.covers(model)
        ]
        await opening_repository.attach(tx, window_id, payer, span.starts_at, models)

    async def count(self, record: BudgetRecord, window: WindowRecord) -> None:
        """Add what was spent in *window* before its budget was made, unless that was done."""
        if window.id is None or window.opening_nano is not None:
            return
        async with self._db.long_transaction() as tx:
            await opening_repository.allow_long_count(tx)
            cost_by_model = await self._ledger.sum_cost_by_model(
                tx, window.starts_at, payer=_payer(record), without_window_id=window.id
            )
            opening_nano = sum(cost for model, cost in cost_by_model.items() if record.covers(model))
            await opening_repository.write_opening(tx, window.id, opening_nano)

    async def keep_counted(self) -> None:
        """Count, now and every minute until cancelled, what a process that was killed in between has left."""
        while True:
            try:
                async with self._db.transaction() as tx:
                    uncounted = await opening_repository.list_uncounted(tx)
                for record, window in uncounted:
                    await self.count(record, window)
            except Exception as error:  # noqa: BLE001 - tried again within the minute
                _log.warning("budget_openings_not_counted", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_CHECK_SECONDS)


def _payer(record: BudgetRecord) -> tuple[str, str] | None:
    return None if record.scope_id is None else (_COLUMNS[record.scope], record.scope_id)
