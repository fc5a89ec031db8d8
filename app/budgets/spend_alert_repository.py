"""Spend alerts in PostgreSQL."""

from typing import Final

from sqlalchemy import delete, func, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.budgets.models import SpendAlert
from app.budgets.spend_alert import AlertContents, AlertPaging, SpendAlertRecord

_ALERT: Final = [getattr(SpendAlert, name) for name in SpendAlertRecord._fields]


async def create_alert(tx: AsyncConnection, record: SpendAlertRecord) -> None:
    """Insert an alert."""
    await tx.execute(insert(SpendAlert).values(**record._asdict()))


async def count_alerts(tx: AsyncConnection, project_id: str | None) -> int:
    """Return how many alerts a project, or the organization, has."""
    query = select(func.count()).where(SpendAlert.project_id == project_id)
    return (await tx.execute(query)).scalar_one()


async def find_alert(
    tx: AsyncConnection, project_id: str | None, alert_id: str, *, locks: bool = False
) -> SpendAlertRecord | None:
    """Return an alert of a project, or of the organization; *locks* keeps others from changing it meanwhile."""
    query = select(*_ALERT).where(SpendAlert.id == alert_id, SpendAlert.project_id == project_id)
    row = (await tx.execute(query.with_for_update() if locks else query)).one_or_none()
    return None if row is None else SpendAlertRecord(*row)


async def update_alert(tx: AsyncConnection, alert_id: str, contents: AlertContents) -> None:
    """Replace what an alert says."""
    await tx.execute(update(SpendAlert).where(SpendAlert.id == alert_id).values(**contents._asdict()))


async def delete_alert(tx: AsyncConnection, alert_id: str) -> None:
    """Delete an alert."""
    await tx.execute(delete(SpendAlert).where(SpendAlert.id == alert_id))


async def list_alerts(
    tx: AsyncConnection,
    project_id: str | None,
    paging: AlertPaging,
    after: SpendAlertRecord | None,
    before: SpendAlertRecord | None,
) -> list[SpendAlertRecord]:
    """Return the alerts behind *after* and in front of *before*; one more than the limit, in the order of reading.

    That is backwards, from *before* on, for a page that is asked for so.
    """
    keys = tuple_(SpendAlert.created_at, SpendAlert.id)
    query = select(*_ALERT).where(SpendAlert.project_id == project_id)
    is_ascending = paging.order == "asc"
    for edge, is_later in ((after, is_ascending), (before, not is_ascending)):
        if edge is not None:
            place = tuple_(literal(edge.created_at), literal(edge.id))
            query = query.where(keys > place if is_later else keys < place)
    columns = (SpendAlert.created_at, SpendAlert.id)
    is_read_ascending = is_ascending != paging.is_backwards
    ordered = query.order_by(*(column.asc() if is_read_ascending else column.desc() for column in columns))
    return [SpendAlertRecord(*row) for row in await tx.execute(ordered.limit(paging.limit + 1))]
