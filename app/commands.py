"""Every command of `weir`, and the ones that are no more than a few lines. `weir serve` does not import this.

They print for people.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer

from app.cli import fail, migrates_on_start, serve, tell, warn_of_unknown_variables
from app.core import schema
from app.core.db import Database
from app.doctor import Finding, examine
from app.embedded.servers import EmbeddedServerError
from app.first_run import key_service, open_database
from app.keys.record import KeyRecord, NewKey
from app.keys.scopes import read_scope
from app.keys.service import KeyService
from app.keys.tokens import KeyKind
from app.local import completed
from app.observability.logging import capture_stdlib, configure
from app.projects.service import DEFAULT_PROJECT_ID, ProjectService
from app.reconcile import reconcile as reconcile_day
from app.reconciliation.comparison import DayCheck
from app.reconciliation.failure import DayNotBegun
from app.reconciliation.table import table
from app.rollup_commands import rollup_commands
from app.secret_commands import secret_commands
from app.settings import Settings, SettingsError, load_settings
from app.simulator import server as simulator
from app.user_commands import user_commands
from app.version import VERSION

Result = TypeVar("Result")

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Weir's commands.")
keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke keys.")
cli.command()(serve)
cli.add_typer(keys, name="keys")


@cli.command()
def migrate() -> None:
    """Bring the database's schema up to date."""

    async def work(settings: Settings) -> str:
        db = open_database(settings)
        try:
            before = await schema.current_revision(db)
            await schema.migrate(db)
            return f"The schema is at {schema.needed_revision()} (it was at {before or 'nothing'})."
        finally:
            await db.close()

    typer.echo(_run(work))


@cli.command()
def doctor() -> None:
    """Check settings, database, schema, Redis and upstream, and say what to do about each failure."""

    async def work(settings: Settings) -> bool:
        examined = examine(settings, migrates_on_start=migrates_on_start(load_settings()))
        return all([_show(finding) async for finding in examined])

    try:
        warn_of_unknown_variables()
        load_settings()
        _show(Finding("settings", is_ok=True, detail="read and allowed"))
        is_well: bool = _run(work)
    except SettingsError as error:
        is_well = _show(Finding("settings", is_ok=False, detail=str(error), advice="Correct them and try again."))
    except EmbeddedServerError as error:
        detail, _, advice = str(error).partition(": ")
        is_well = _show(Finding("embedded servers", is_ok=False, detail=detail, advice=advice))
    raise SystemExit(0 if is_well else 1)


@cli.command()
def reconcile(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day in UTC, such as 2026-11-21.")],
) -> None:
    """Compare what the ledger says that a day cost with what the provider charged, by line item; exit 1 if they differ.

    The result is kept, and shown as a metric. It needs WEIR_RECONCILIATION__ADMIN_API_KEY.
    """

    async def work(settings: Settings) -> DayCheck:
        try:
            return await reconcile_day(settings, day.date())
        except DayNotBegun as error:
            raise typer.BadParameter(str(error), param_hint="--day") from None

    check: DayCheck = _run(work)
    typer.echo(table(check))
    raise SystemExit(1 if check.beyond_tolerance else 0)


@cli.command()
def simulate(port: Annotated[int, typer.Option(help="TCP port on 127.0.0.1.")] = 9000) -> None:
    """Serve the simulator by itself: an OpenAI-compatible upstream whose every answer can be scripted."""
    typer.echo(f"The simulator listens on http://127.0.0.1:{port}/v1 (any key); its account: /simulator/account")
    try:
        simulator.run(port)
    except OSError as error:
        fail(f"cannot listen on port {port}: {error.strerror}")


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"weir {VERSION}")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    project: Annotated[str, typer.Option(help="Id or name of the project that pays.")] = DEFAULT_PROJECT_ID,
    user: Annotated[str | None, typer.Option(help="Id of the person whose key it is; none for a program.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Make an admin key instead of an API key.")] = False,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it stops working.")] = None,
    scopes: Annotated[str, typer.Option(help="What it may do, such as api.model.read,api.model.request.")] = "api.all",
) -> None:
    """Make a key and print it, once."""
    kind: KeyKind = "admin" if admin else "api"
    granted = _scopes(scopes)
    if admin and granted:
        raise typer.BadParameter("an admin key has no scopes", param_hint="--scopes")

    async def work(service: KeyService, db: Database) -> str:
        project_id = None if admin else await _project_id(db, project)
        seconds = None if expires_in_days is None else expires_in_days * 86_400
        new = NewKey(kind, name, project_id, user, expires_in_seconds=seconds, scopes=granted)
        return (await service.create_from(new)).value

    typer.echo(_with_keys(work))


@keys.command("list")
def list_keys() -> None:
    """List every key, without its secret."""

    async def work(service: KeyService, _: Database) -> list[str]:
        return [_key_line(key) for key in await service.list_all()]

    typer.echo("\n".join(_with_keys(work)) or "There are no keys yet: the first start of `weir serve` makes them.")


@keys.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="The id that `weir keys list` shows.")]) -> None:
    """Revoke a key: every replica refuses it within a second."""

    async def work(service: KeyService, _: Database) -> None:
        await service.revoke(key_id)

    _with_keys(work)
    typer.echo(f"{key_id} is revoked.")


def _key_line(key: KeyRecord) -> str:
    state = "active" if key.expires_at is None else f"expires {key.expires_at:%Y-%m-%d}"
    if key.revoked_at is not None:
        state = "revoked"
    return f"{key.id}  {key.kind:5}  {key.project_id or '-':14}  {key.redacted:12}  {state:18}  {key.name}"


def _scopes(text: str) -> tuple[str, ...]:
    try:
        scopes = tuple(read_scope(name.strip()) for name in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--scopes") from None
    return () if "api.all" in scopes else scopes


async def _project_id(db: Database, name: str) -> str:
    projects = ProjectService(db)
    return await projects.create_default() if name == DEFAULT_PROJECT_ID else await projects.get_id(name)


def _with_keys(work: Callable[[KeyService, Database], Awaitable[Result]]) -> Result:
    async def with_service(settings: Settings) -> Result:
        db = open_database(settings)
        try:
            await schema.check(db)
            return await work(key_service(db, settings), db)
        finally:
            await db.close()

    result: Result = _run(with_service)
    return result


def _run(work: Callable[[Settings], Any]) -> Any:
    """Run *work* with complete settings, on the servers of a running Weir or on ones started for it."""
    settings = load_settings()
    capture_stdlib(configure(settings.log.model_copy(update={"level": "error"})), settings.log)
    with completed(settings, tell, share=True) as complete:
        return asyncio.run(work(complete))


def _show(finding: Finding) -> bool:
    """Print *finding*; tell whether it is ok."""
    detail = finding.detail.replace("\n", "\n             ")
    typer.echo(f"  {'ok     ' if finding.is_ok else 'FAILED '}  {finding.name}: {detail}")
    if not finding.is_ok:
        typer.echo(f"           -> {finding.advice}")
    return finding.is_ok


cli.add_typer(rollup_commands(_run), name="rollups")
cli.add_typer(secret_commands(_run), name="secrets")
cli.add_typer(user_commands(_run), name="users")
