"""The `weir` command. Prints for people; exits 0 when it went well, 1 when it did not, 2 when it was asked wrongly.

Must import little: `serve` starts PostgreSQL and Valkey first, and the rest of Weir is imported while they start.
"""

import asyncio
import importlib
import os
import sys
from typing import Annotated, Final, NoReturn

import typer

from app import serve as server
from app.banner import banner
from app.local import completed
from app.observability.logging import capture_stdlib, configure
from app.setting_names import unknown_variables
from app.settings import Settings, load_settings

_COMMANDS: Final = "app.commands"
_FAILURES: Final = "app.failures"
_FIRST_RUN: Final = "app.first_run"

serving = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@serving.callback()
def _weir() -> None:
    """Make `serve` a command even where it is the only one."""


@serving.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (WEIR_SERVER__HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port to listen on (WEIR_SERVER__PORT).")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that answer calls (WEIR_SERVER__WORKERS); by default one per core.")
    ] = None,
) -> None:
    """Serve the API; PostgreSQL and Valkey are started too unless they are configured.

    Settings come from WEIR_* variables; OPENAI_API_KEY is the upstream's. SIGTERM and Ctrl-C finish open calls first.
    """
    for name, value in (("HOST", host), ("PORT", port), ("WORKERS", workers)):
        if value is not None:
            os.environ[f"WEIR_SERVER__{name}"] = str(value)
    warn_of_unknown_variables()
    settings = load_settings()
    capture_stdlib(configure(settings.log), settings.log)
    count = server.process_count(settings)
    alone = count == 1
    modules = (_FIRST_RUN, server.APP_MODULE) if alone else (_FIRST_RUN,)
    with (
        server.listen(settings.server) as listener,
        server.importing(*modules) as imported,
        completed(settings, tell, share=False) as complete,
    ):
        prepare = imported(_FIRST_RUN).prepare
        first_keys = asyncio.run(prepare(complete, migrate=migrates_on_start(settings)))
        server.export(complete)
        typer.echo(banner(complete, first_keys))
        imported(modules[-1])
        raise SystemExit(server.run_here(settings.server, listener) if alone else server.run_workers(listener, count))


def migrates_on_start(settings: Settings) -> bool:
    """Tell whether `serve` brings the schema up to date; it always does in a database of its own."""
    return settings.database_url is None or settings.migrate_on_start


def warn_of_unknown_variables() -> None:
    """Tell of variables that look like settings and are none."""
    for line in unknown_variables(dict(os.environ)):
        tell(f"Warning: {line}")


def tell(line: str) -> None:
    """Tell a person what is going on, beside what the command prints for programs."""
    typer.echo(line, err=True)


def fail(message: str, status: int = 1) -> NoReturn:
    """Say why the command ends here, and end it."""
    tell(f"weir: {message}")
    raise SystemExit(status)


def main() -> None:
    """Run the command; every foreseen failure is one message without a traceback."""
    try:
        command = serving if sys.argv[1:2] == ["serve"] else importlib.import_module(_COMMANDS).cli
        command(prog_name="weir")
    except Exception as error:
        foreseen = importlib.import_module(_FAILURES).foreseen(error)
        if foreseen is None:
            raise
        fail(foreseen.message, foreseen.status)


if __name__ == "__main__":
    main()
