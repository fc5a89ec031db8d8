"""Compares the ledger with the provider's own bill, one day at a time, and keeps what it found.

It changes neither the ledger nor any budget: a difference is for people to explain.
"""

from datetime import date
from typing import Final

import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.core.money import nano_from_usd, usd_text
from app.ledger.day_service import DayCostService
from app.reconciliation import repository
from app.reconciliation.client import ProviderClient
from app.reconciliation.comparison import DayCheck, compare
from app.reconciliation.failure import DayNotBegun
from app.setting_groups import Reconciliation as ReconciliationSettings

_log: Final = structlog.get_logger()


class ReconciliationService:
    """Checks days against one provider."""

    def __init__(
        self,
        db: Database,
        costs: DayCostService,
        provider: ProviderClient,
        settings: ReconciliationSettings,
        clock: Clock,
    ) -> None:
        self.upstream = provider.upstream
        self._db = db
        self._costs = costs
        self._provider = provider
        self._tolerance = nano_from_usd(settings.tolerance_usd)
        self._clock = clock

    async def check(self, day: date) -> DayCheck:
        """Compare *day*, in UTC, store the result in the place of the day's last one, log it and return it.

        Raises DayNotBegun, ProviderFailed, and DatabaseUnavailable.
        """
        checked_at = self._clock()
        if day > checked_at.date():
            raise DayNotBegun(f"{day} has not begun; today is {checked_at:%Y-%m-%d}, in UTC")
        provider = await self._provider.list_costs(day)
        ledger = await self._costs.sum_by_model(self.upstream, day)
        check = DayCheck(day, self.upstream, checked_at, compare(ledger, provider), self._tolerance)
        async with self._db.transaction() as tx:
            await repository.replace_day(tx, check)
        _log_result(check)
        return check


def _log_result(check: DayCheck) -> None:
    ledger, provider = check.total.ledger_nano, check.total.provider_nano
    facts = {
        "day": str(check.day),
        "upstream": check.upstream,
        "ledger_usd": usd_text(ledger),
        "provider_usd": usd_text(provider),
    }
    differing = check.beyond_tolerance
    if not differing:
        _log.info("reconciled", **facts)
        return
    worst = differing[0]
    _log.warning(
        "reconciliation_differs",
        **facts,
        differing_line_items=len(differing),
        worst_line_item=worst.line_item,
        worst_difference_usd=usd_text(worst.difference_nano),
    )
