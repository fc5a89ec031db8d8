"""`weir rollups`: makes the usage totals anew from the ledger, which is what they are sums of."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from app.core import schema
from app.first_run import open_database
from app.ledger.rollup_service import RollupService
from app.ledger.spans import Span
from app.settings import Settings

Run = Callable[[Callable[[Settings], Awaitable[Any]]], Any]
Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day in UTC, such as 2026-11-21.")]
Days = Annotated[int, typer.Option(min=1, max=366, help="How many days, from that one on.")]


def rollup_commands(run: Run) -> typer.Typer:
    """Return the commands, which do their work with *run*."""
    rollups = typer.Typer(no_args_is_help=True, help="Rebuild usage totals.")

    @rollups.callback()
    def group() -> None:
        """Rebuild the usage totals from the ledger."""

    @rollups.command()
    def rebuild(
        day: Day, days: Annotated[int, typer.Option(min=1, max=366, help="How many days, from it on.")] = 1
    ) -> None:
        """Make the totals of days anew, while Weir runs: when `weir doctor` finds that they differ from the ledger."""
        run(lambda settings: _rebuild(settings, [day.replace(tzinfo=UTC) + timedelta(days=n) for n in range(days)]))

    return rollups


async def _rebuild(settings: Settings, days: Iterable[datetime]) -> None:
    db = open_database(settings)
    try:
        await schema.check(db)
        for day in days:
            await RollupService(db, settings.ledger).rebuild(Span(day, day + timedelta(days=1)))
            typer.echo(f"{day:%Y-%m-%d}: made anew")
    finally:
        await db.close()
