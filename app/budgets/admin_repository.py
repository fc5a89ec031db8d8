"""Budgets, their windows and their history in PostgreSQL, for those who manage them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, func, insert, or_, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.budgets.models import BudgetChange, BudgetRow, BudgetWindow
from app.budgets.periods import Span
from app.budgets.record import BudgetFilter, BudgetRecord, ChangeRecord, WindowRecord
from app.core.orm import paged
from app.core.pagination import Paging

_BUDGET: Final = [getattr(BudgetRow, name) for name in BudgetRecord._fields]
_CHANGE: Final = [getattr(BudgetChange, name) for name in ChangeRecord._fields]
_WINDOW: Final = [getattr(BudgetWindow, name) for name in WindowRecord._fields]


async def count_up_version(tx: AsyncConnection) -> None:
    """Tell every process that budgets change in this transaction; until it ends nobody else can change any."""
    await tx.execute(text("UPDATE budget_versions SET version = version + 1"))


async def get_moment(tx: AsyncConnection) -> datetime:
    """Return what time it is now by the database, the one clock of all replicas."""
    now: datetime = (await tx.execute(select(func.clock_timestamp()))).scalar_one()
    return now


async def create_budget(tx: AsyncConnection, record: BudgetRecord) -> None:
    """Insert a budget."""
    await tx.execute(insert(BudgetRow).values(**record._asdict()))


async def find_budget(tx: AsyncConnection, budget_id: str) -> BudgetRecord | None:
    """Return a budget, archived or not."""
    row = (await tx.execute(select(*_BUDGET).where(BudgetRow.id == budget_id))).one_or_none()
    return None if row is None else BudgetRecord(*row)


async def find_in_force(tx: AsyncConnection, name: str, scope: str, scope_id: str | None) -> BudgetRecord | None:
    """Return the oldest budget in force of this name and scope."""
    query = select(*_BUDGET).where(
        BudgetRow.name == name,
        BudgetRow.scope == scope,
        BudgetRow.scope_id == scope_id,
        BudgetRow.archived_at.is_(None),
    )
    row = (await tx.execute(query.order_by(BudgetRow.created_at, BudgetRow.id).limit(1))).one_or_none()
    return None if row is None else BudgetRecord(*row)


async def count_in_force(tx: AsyncConnection, scope: str, scope_id: str | None) -> int:
    """Return how many budgets of this scope are not archived."""
    query = select(func.count()).where(
        BudgetRow.scope == scope,
        BudgetRow.scope_id == scope_id,
        BudgetRow.archived_at.is_(None),
    )
    return (await tx.execute(query)).scalar_one()


async def update_budget(tx: AsyncConnection, budget_id: str, columns: dict[str, Any]) -> BudgetRecord:
    """Set *columns* of a budget, count its version up, and return it."""
    statement = update(BudgetRow).where(BudgetRow.id == budget_id)
    changed = statement.values(**columns, version=BudgetRow.version + 1, updated_at=func.clock_timestamp())
    return BudgetRecord(*(await tx.execute(changed.returning(*_BUDGET))).one())


async def list_budgets(
    tx: AsyncConnection, wanted: BudgetFilter, sort: str, paging: Paging, after: BudgetRecord | None
) -> list[BudgetRecord]:
    """Return the budgets that are *wanted*, those behind *after* in the order of *sort*; one more than the limit."""
    archived_at = BudgetRow.archived_at
    query = select(*_BUDGET).where(archived_at.is_not(None) if wanted.is_archived else archived_at.is_(None))
    for column, value in (
        (BudgetRow.scope, wanted.scope),
        (BudgetRow.scope_id, wanted.scope_id),
        (BudgetRow.model, wanted.model),
        (BudgetRow.mode, wanted.mode),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.scopes is not None:
        query = query.where(
            or_(*(and_(BudgetRow.scope == scope, BudgetRow.scope_id == scope_id) for scope, scope_id in wanted.scopes))
        )
    keys = [getattr(BudgetRow, sort), BudgetRow.id]
    values = None if after is None else [getattr(after, sort), after.id]
    return [BudgetRecord(*row) for row in await tx.execute(paged(query, keys, values, paging))]


async def create_change(
    tx: AsyncConnection,
    budget_id: str,
    changed_by: str,
    kind: str,
    values: tuple[dict[str, Any] | None, dict[str, Any]],
) -> None:
    """Append a line to a budget's history: *values* before and after."""
    before, after = values
    await tx.execute(
        insert(BudgetChange).values(budget_id=budget_id, changed_by=changed_by, kind=kind, before=before, after=after)
    )


async def list_changes(tx: AsyncConnection, budget_id: str, paging: Paging, after: int | None) -> list[ChangeRecord]:
    """Return a budget's history behind the line *after*; one more than the limit."""
    query = select(*_CHANGE).where(BudgetChange.budget_id == budget_id)
    page = paged(query, [BudgetChange.id], None if after is None else [after], paging)
    return [ChangeRecord(*row) for row in await tx.execute(page)]


async def list_windows(tx: AsyncConnection, budget_id: str, paging: Paging, after: int | None) -> list[WindowRecord]:
    """Return a budget's windows behind the one with the id *after*; one more than the limit."""
    query = select(*_WINDOW).where(BudgetWindow.budget_id == budget_id)
    page = paged(query, [BudgetWindow.id], None if after is None else [after], paging)
    return [WindowRecord(*row) for row in await tx.execute(page)]


async def find_windows(tx: AsyncConnection, spans: Iterable[tuple[str, Span]]) -> dict[str, WindowRecord]:
    """Return the windows of these (budget id, span), by budget id, as far as there are any."""
    keys = [(budget_id, span.starts_at) for budget_id, span in spans]
    query = select(*_WINDOW).where(tuple_(BudgetWindow.budget_id, BudgetWindow.starts_at).in_(keys))
    return {row.budget_id: WindowRecord(*row) for row in await tx.execute(query)}
