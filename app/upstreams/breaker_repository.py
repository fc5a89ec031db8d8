"""What operators have decided about breakers, in PostgreSQL."""

from typing import Final

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.upstreams.breaker import Forced
from app.upstreams.breaker_models import UpstreamBreakerRow
from app.upstreams.target_health import Key

CHANNEL: Final = "weir_upstream_breakers"
"""Notified whenever a decision is made or taken back."""


async def list_forced(tx: AsyncConnection) -> dict[Key, Forced]:
    """Return every decision, by the names of upstream and model."""
    row = UpstreamBreakerRow
    found = await tx.execute(select(row.upstream, row.model, row.state))
    return {(upstream, model): "open" if state == "open" else "closed" for upstream, model, state in found}


async def stop_changes(tx: AsyncConnection) -> None:
    """Let nobody else decide until the transaction ends, and tell every process when it does."""
    statement = text("SELECT pg_advisory_xact_lock(hashtext('weir.upstream_breakers')), pg_notify(:channel, '')")
    await tx.execute(statement, {"channel": CHANNEL})


async def find_forced(tx: AsyncConnection, upstream: str, model: str) -> str | None:
    """Return what is decided about one breaker."""
    row = UpstreamBreakerRow
    query = select(row.state).where(row.upstream == upstream, row.model == model)
    return (await tx.execute(query)).scalar_one_or_none()


async def count_forced(tx: AsyncConnection) -> int:
    """Return how many decisions there are."""
    return (await tx.execute(select(func.count()).select_from(UpstreamBreakerRow))).scalar_one()


async def set_forced(tx: AsyncConnection, upstream: str, model: str, state: Forced) -> None:
    """Decide about one breaker."""
    statement = insert(UpstreamBreakerRow).values(upstream=upstream, model=model, state=state)
    changed = {"state": state, "updated_at": func.clock_timestamp()}
    await tx.execute(statement.on_conflict_do_update(index_elements=["upstream", "model"], set_=changed))


async def delete_forced(tx: AsyncConnection, upstream: str, model: str) -> None:
    """Take the decision about one breaker back."""
    row = UpstreamBreakerRow
    await tx.execute(delete(row).where(row.upstream == upstream, row.model == model))


async def delete_of_upstream(tx: AsyncConnection, upstream: str) -> None:
    """Take back every decision about an upstream that is deleted."""
    await stop_changes(tx)
    await tx.execute(delete(UpstreamBreakerRow).where(UpstreamBreakerRow.upstream == upstream))
