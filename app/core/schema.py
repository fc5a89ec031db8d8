"""The version of the database schema: what it is, what this program needs, and how to get there.

Alembic is imported only when there is something to migrate, as that takes a fifth of a second.
"""

import importlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection, text

from app.core.db import Database, DatabaseUnavailable
from app.core.imports import without

_MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"
_REVISION: Final = re.compile(r"""^(down_revision|revision) = (?:['"](.+)['"]|None)$""", re.MULTILINE)


class SchemaError(Exception):
    """The schema is not the one that this program knows; the message says what to do."""


@cache
def needed_revision() -> str:
    """Return the newest revision in this program's migrations."""
    revisions = _revisions()
    heads = revisions.keys() - revisions.values()
    if len(heads) != 1:
        raise SchemaError(f"there are no migrations in {_MIGRATIONS}, or they fork: {sorted(heads)}")
    return heads.pop()


def _revisions() -> dict[str, str]:
    """Return every revision in this program's migrations, each with the one before it, "" for the first."""
    files = (_MIGRATIONS / "versions").glob("[!_]*.py")
    found = (dict(_REVISION.findall(file.read_text())) for file in files)
    return {each["revision"]: each["down_revision"] for each in found}


async def current_revision(db: Database) -> str | None:
    """Return the revision of the database, None for one without a schema."""
    async with db.transaction() as connection:
        if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return None
        revision: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


async def is_current(db: Database) -> bool:
    """Tell whether the database's schema is exactly the one that this program needs."""
    return await current_revision(db) == needed_revision()


async def check(db: Database) -> None:
    """Raise SchemaError unless the database's schema is exactly the one that this program needs."""
    current, needed = await current_revision(db), needed_revision()
    if current == needed:
        return
    _refuse_unknown(current)
    raise SchemaError(
        f"the database schema is at {current or 'nothing'}, this Weir needs {needed}: run `weir migrate`, "
        "or set WEIR_MIGRATE_ON_START=true"
    )


async def migrate(db: Database, revision: str = "head") -> None:
    """Bring the schema up to *revision*; several processes may try at once, one does it.

    Raises SchemaError as `change` does, and for a schema that is newer than this program.
    """
    _refuse_unknown(await current_revision(db))

    await change(db, lambda connection: run_alembic(connection, "upgrade", revision))


def run_alembic(connection: Connection, command: str, *words: str) -> None:
    """Run one of Alembic's commands, such as `upgrade` with a revision, in the transaction of *connection*."""
    with without("pygments"):  # for error pages that Mako could make in colour
        config: Any = importlib.import_module("alembic.config").Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    getattr(importlib.import_module("alembic.command"), command)(config, *words)


async def change(db: Database, step: Callable[[Connection], None]) -> None:
    """Run *step*, which migrates, in one transaction; raises SchemaError when it had to wait too long for a lock."""
    try:
        async with db.long_transaction() as connection:
            await connection.run_sync(step)
    except DatabaseUnavailable as error:
        if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
            raise SchemaError(
                "the migration gave up waiting for a lock that another session holds (a long query, a backup): "
                "nothing was changed; run it again when that session has ended"
            ) from error
        raise


def _refuse_unknown(current: str | None) -> None:
    if current is not None and current not in _revisions():
        raise SchemaError(
            f"the database schema is at {current}, which this Weir does not know: it is newer; upgrade Weir"
        )
