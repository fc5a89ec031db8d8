"""Managed upstreams in PostgreSQL."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Row, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orm import paged
from app.core.pagination import Paging
from app.upstreams.models import UpstreamRow
from app.upstreams.record import RECORD_FIELDS, Sort, UpstreamConfig, UpstreamRecord, columns

CHANNEL: Final = "weir_upstreams"
"""Notified whenever an upstream is added, changed or deleted."""
_RECORD: Final = [getattr(UpstreamRow, name) for name in RECORD_FIELDS]


async def list_all(tx: AsyncConnection) -> list[UpstreamRecord]:
    """Return every upstream, oldest first."""
    query = select(*_RECORD).order_by(UpstreamRow.created_at, UpstreamRow.id)
    return [_record(row) for row in await tx.execute(query)]


async def list_upstreams(
    tx: AsyncConnection, sort: Sort, paging: Paging, after: UpstreamRecord | None
) -> list[UpstreamRecord]:
    """Return the upstreams behind *after* in the order of *sort*; one more than the limit."""
    keys = (getattr(UpstreamRow, sort), UpstreamRow.id)
    query = paged(select(*_RECORD), keys, None if after is None else (getattr(after, sort), after.id), paging)
    return [_record(row) for row in await tx.execute(query)]


async def find_upstream(tx: AsyncConnection, upstream_id: str) -> UpstreamRecord | None:
    """Return one upstream."""
    row = (await tx.execute(select(*_RECORD).where(UpstreamRow.id == upstream_id))).one_or_none()
    return None if row is None else _record(row)


async def name_exists(tx: AsyncConnection, name: str) -> bool:
    """Tell whether an upstream is called *name*."""
    return (await tx.execute(select(UpstreamRow.id).where(UpstreamRow.name == name))).first() is not None


async def count_upstreams(tx: AsyncConnection) -> int:
    """Return how many there are."""
    return (await tx.execute(select(func.count()).select_from(UpstreamRow))).scalar_one()


async def stop_changes(tx: AsyncConnection) -> None:
    """Let nobody else change upstreams until the transaction ends, and tell every process when it does."""
    statement = text("SELECT pg_advisory_xact_lock(hashtext('weir.upstreams')), pg_notify(:channel, '')")
    await tx.execute(statement, {"channel": CHANNEL})


async def create_upstream(
    tx: AsyncConnection, upstream_id: str, config: UpstreamConfig, credential: Mapping[str, Any]
) -> UpstreamRecord:
    """Insert an upstream and return it; *credential* is the columns of its API key."""
    values = {**columns(config), **credential}
    statement = insert(UpstreamRow).values(id=upstream_id, version=1, **values).returning(*_RECORD)
    return _record((await tx.execute(statement)).one())


async def update_upstream(tx: AsyncConnection, upstream_id: str, changed: Mapping[str, Any]) -> UpstreamRecord:
    """Set the columns *changed* of an upstream, count its version up, and return it."""
    statement = update(UpstreamRow).where(UpstreamRow.id == upstream_id)
    values = {**changed, "version": UpstreamRow.version + 1, "updated_at": func.clock_timestamp()}
    return _record((await tx.execute(statement.values(**values).returning(*_RECORD))).one())


async def set_credential(tx: AsyncConnection, upstream_id: str, api_key_encrypted: bytes) -> None:
    """Keep the same credential in other bytes: that is no change that people need to know of."""
    statement = update(UpstreamRow).where(UpstreamRow.id == upstream_id)
    await tx.execute(statement.values(api_key_encrypted=api_key_encrypted))


async def delete_upstream(tx: AsyncConnection, upstream_id: str) -> None:
    """Delete one upstream."""
    await tx.execute(delete(UpstreamRow).where(UpstreamRow.id == upstream_id))


def _record(row: Row[Any]) -> UpstreamRecord:
    values = dict(zip(RECORD_FIELDS, row, strict=True))
    return UpstreamRecord(**{**values, "models": tuple(values["models"])})
