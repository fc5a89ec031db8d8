"""The version of the database schema: what it is, what this program needs, and how to get there."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.core.db import Database, DatabaseUnavailable

_MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"


class SchemaError(Exception):
    """The schema is not the one that this program knows; the message says what to do."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


@cache
def needed_revision() -> str:
    """Return the newest revision in this program's migrations."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise SchemaError(f"there are no migrations in {_MIGRATIONS}")
    return head


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

    def upgrade(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    await change(db, upgrade)


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
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaError(
            f"the database schema is at {current}, which this Weir does not know: it is newer; upgrade Weir"
        )
