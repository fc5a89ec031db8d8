"""The audit log in PostgreSQL."""

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.models import AuditEntry


async def add_entry(tx: AsyncConnection, **columns: object) -> None:
    """Append one entry."""
    await tx.execute(insert(AuditEntry).values(**columns))
