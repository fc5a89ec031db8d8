"""The first window of a budget in PostgreSQL, the calls under way that are put into it, and what is added to one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import literal, select, text, update
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.budgets.models import BudgetRow, BudgetWindow, ReservationRow
from app.budgets.periods import Span
from app.budgets.record import BudgetRecord, WindowRecord

Payer = tuple[str, str] | None
"""A column of reservations and of entries, such as `project_id`, and its value; None is everybody."""

# A long month has many entries, and nobody waits for this statement but who made the budget.
_COUNT_TIMEOUT: Final = "SET LOCAL statement_timeout = '15min'"

# Nobody reserves, settles or releases while this is held: those who do so now are waited for, which takes a few
# milliseconds, and the others wait until this transaction has ended. Rows alone could not be locked without risking
# deadlocks, as settlements delete theirs in an order of their own. Whoever takes this lock has none on a window.
_STOP: Final = "LOCK TABLE reservations IN SHARE ROW EXCLUSIVE MODE"


async def stop_reservations(tx: AsyncConnection) -> None:
    """Let reservations stay as they are until the transaction ends, which must be soon."""
    await tx.execute(text(_STOP))


async def allow_long_count(tx: AsyncConnection) -> None:
    """Let statements of this transaction take as long as counting a month's ledger may."""
    await tx.execute(text(_COUNT_TIMEOUT))


async def make_window(tx: AsyncConnection, budget_id: str, span: Span, opening_nano: int | None) -> None:
    """Insert a window unless it is there; None as *opening_nano* leaves it to be counted."""
    window = {"budget_id": budget_id, "starts_at": span.starts_at, "ends_at": span.ends_at}
    await tx.execute(insert(BudgetWindow).values(**window, opening_nano=opening_nano).on_conflict_do_nothing())


async def find_open_models(tx: AsyncConnection, payer: Payer, since: datetime) -> Sequence[str]:
    """Return the models of the payer's calls under way that began since then."""
    query = select(ReservationRow.model).where(ReservationRow.started_at >= since).distinct()
    if payer is not None:
        query = query.where(getattr(ReservationRow, payer[0]) == payer[1])
    return (await tx.scalars(query)).all()


async def attach(tx: AsyncConnection, window_id: int, payer: Payer, since: datetime, models: Sequence[str]) -> None:
    """Put the payer's calls of *models* under way that began since then into a window, with what they hold."""
    statement = update(ReservationRow).where(ReservationRow.started_at >= since, ReservationRow.model.in_(models))
    if payer is not None:
        statement = statement.where(getattr(ReservationRow, payer[0]) == payer[1])
    window_ids = ReservationRow.budget_window_ids + array([literal(window_id, BudgetWindow.id.type)])
    held = statement.values(budget_window_ids=window_ids).returning(ReservationRow.ceiling_nano)
    reserved_nano = sum(await tx.scalars(held))
    await tx.execute(update(BudgetWindow).where(BudgetWindow.id == window_id).values(reserved_nano=reserved_nano))


async def list_uncounted(tx: AsyncConnection) -> list[tuple[BudgetRecord, WindowRecord]]:
    """Return the windows whose opening was not counted yet, with their budgets."""
    width = len(BudgetRecord._fields)
    columns = [getattr(BudgetRow, name) for name in BudgetRecord._fields]
    columns += [getattr(BudgetWindow, name) for name in WindowRecord._fields]
    query = select(*columns).join(BudgetRow, BudgetRow.id == BudgetWindow.budget_id)
    rows = await tx.execute(query.where(BudgetWindow.opening_nano.is_(None)))
    return [(BudgetRecord(*row[:width]), WindowRecord(*row[width:])) for row in rows]


# Whoever comes first writes the opening; for anybody else who has counted it too, there is nothing left to do.
async def write_opening(tx: AsyncConnection, window_id: int, opening_nano: int) -> None:
    """Add what was spent before a budget was made to its window, once."""
    statement = update(BudgetWindow).where(BudgetWindow.id == window_id, BudgetWindow.opening_nano.is_(None))
    spent_nano = BudgetWindow.spent_nano + opening_nano
    await tx.execute(statement.values(opening_nano=opening_nano, spent_nano=spent_nano))


async def add_extra(tx: AsyncConnection, budget_id: str, starts_at: datetime, amount_nano: int) -> int:
    """Add to the limit of one window, and return what was added to it in all."""
    statement = update(BudgetWindow).where(BudgetWindow.budget_id == budget_id, BudgetWindow.starts_at == starts_at)
    added = statement.values(extra_nano=BudgetWindow.extra_nano + amount_nano).returning(BudgetWindow.extra_nano)
    return (await tx.execute(added)).scalar_one()
