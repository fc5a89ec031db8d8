"""Service accounts in PostgreSQL. Those that were deleted are in no answer."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orm import paged
from app.core.pagination import Paging
from app.keys.models import ServiceAccount
from app.keys.record import AccountRecord

_ACCOUNT: Final = [getattr(ServiceAccount, name) for name in AccountRecord._fields]


async def create_account(tx: AsyncConnection, account: AccountRecord) -> None:
    """Insert a service account."""
    await tx.execute(insert(ServiceAccount).values(**account._asdict()))


async def find_account(
    tx: AsyncConnection, project_id: str, account_id: str, *, locks: bool = False
) -> AccountRecord | None:
    """Return a service account of a project; *locks* keeps others from changing it until the transaction ends."""
    query = select(*_ACCOUNT).where(
        ServiceAccount.id == account_id, ServiceAccount.project_id == project_id, ServiceAccount.deleted_at.is_(None)
    )
    row = (await tx.execute(query.with_for_update(key_share=True) if locks else query)).one_or_none()
    return None if row is None else AccountRecord(*row)


async def find_many(tx: AsyncConnection, account_ids: Collection[str]) -> dict[str, AccountRecord]:
    """Return the service accounts with these ids, the deleted ones too."""
    rows = await tx.execute(select(*_ACCOUNT).where(ServiceAccount.id.in_(account_ids)))
    return {row.id: AccountRecord(*row) for row in rows}


async def list_accounts(
    tx: AsyncConnection, project_id: str, paging: Paging, after: AccountRecord | None
) -> list[AccountRecord]:
    """Return a project's service accounts behind *after*, oldest first; one more than the limit."""
    query = select(*_ACCOUNT).where(ServiceAccount.project_id == project_id, ServiceAccount.deleted_at.is_(None))
    values = None if after is None else [after.created_at, after.id]
    rows = await tx.execute(paged(query, [ServiceAccount.created_at, ServiceAccount.id], values, paging))
    return [AccountRecord(*row) for row in rows]


async def update_account(tx: AsyncConnection, account_id: str, columns: dict[str, Any]) -> AccountRecord:
    """Set *columns* of a service account and return it."""
    statement = update(ServiceAccount).where(ServiceAccount.id == account_id).values(**columns)
    return AccountRecord(*(await tx.execute(statement.returning(*_ACCOUNT))).one())


async def delete_account(tx: AsyncConnection, account_id: str, now: datetime) -> None:
    """Let a service account be gone; its row stays, so that its keys can be told."""
    await tx.execute(update(ServiceAccount).where(ServiceAccount.id == account_id).values(deleted_at=now))
