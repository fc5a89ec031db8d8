"""`weir secrets`: brings the credentials of upstreams under another key."""

from collections.abc import Awaitable, Callable
from typing import Any

import typer

from app.core import schema
from app.first_run import open_database
from app.settings import Settings
from app.upstreaming import secret_box
from app.upstreams.rotation_service import Rotation, RotationService

Run = Callable[[Callable[[Settings], Awaitable[Any]]], Any]


def secret_commands(run: Run) -> typer.Typer:
    """Return the commands, which do their work with *run*."""
    secrets = typer.Typer(no_args_is_help=True, help="Encrypt credentials of upstreams anew.")

    @secrets.callback()
    def group() -> None:
        """Look after the credentials of upstreams."""

    @secrets.command()
    def rotate() -> None:
        """Encrypt the credentials of upstreams under WEIR_SECRETS__KEY; then PREVIOUS_KEYS are not needed any more.

        Exit 1 if there are some that no configured key can decrypt.
        """
        rotation: Rotation = run(_rotate)
        typer.echo(f"{rotation.encrypted_count} encrypted anew, {rotation.current_count} were under this key already.")
        for name in rotation.unreadable:
            typer.echo(f"{name}: cannot be decrypted with the keys that are configured; give its credential again.")
        raise SystemExit(1 if rotation.unreadable else 0)

    return secrets


async def _rotate(settings: Settings) -> Rotation:
    db = open_database(settings)
    try:
        await schema.check(db)
        return await RotationService(db, secret_box(settings)).rotate()
    finally:
        await db.close()
