"""Reconciliations in PostgreSQL."""

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.db import HotConnection
from app.core.money import Nano
from app.reconciliation.comparison import DayCheck
from app.reconciliation.models import Reconciliation


class State(NamedTuple):
    """What is known of some days."""

    difference_nano: Nano
    """The differences of all their line items, added up without their signs."""
    checked_at: datetime


async def try_daily_lock(connection: HotConnection) -> bool:
    """Try to be the one process that does the daily check, for as long as *connection* lives."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock(hashtext('weir.reconciliation.daily'))"))


async def replace_day(tx: AsyncConnection, check: DayCheck) -> bool:
    """Put *check* in the place of the one that its day has; returns False, and changes nothing, if that is newer."""
    # One at a time: two checks of a day may end together, and their rows must not be mixed.
    await tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('weir.reconciliation.store'))"))
    newest = await find_checked_at(tx, check.upstream, check.day)
    if newest is not None and newest > check.checked_at:
        return False
    await tx.execute(
        delete(Reconciliation).where(Reconciliation.upstream == check.upstream, Reconciliation.day == check.day)
    )
    rows = [
        {
            "upstream": check.upstream,
            "day": check.day,
            "line_item": line.line_item,
            "ledger_nano": line.ledger_nano,
            "provider_nano": line.provider_nano,
            "difference_nano": line.difference_nano,
            "checked_at": check.checked_at,
        }
        for line in check.lines
    ]
    await tx.execute(insert(Reconciliation), rows)
    return True


async def find_checked_at(tx: AsyncConnection, upstream: str, day: date) -> datetime | None:
    """Return when *day* was checked last."""
    query = select(func.max(Reconciliation.checked_at)).where(
        Reconciliation.upstream == upstream, Reconciliation.day == day
    )
    found: datetime | None = (await tx.execute(query)).scalar_one()
    return found


async def find_state(tx: AsyncConnection, upstream: str, first: date, last: date) -> State | None:
    """Return what the checks of the days from *first* to *last* found, None when there are none."""
    query = select(func.sum(func.abs(Reconciliation.difference_nano)), func.max(Reconciliation.checked_at)).where(
        Reconciliation.upstream == upstream, Reconciliation.day.between(first, last)
    )
    difference, checked_at = (await tx.execute(query)).one()
    return None if checked_at is None else State(Nano(int(difference)), checked_at)
