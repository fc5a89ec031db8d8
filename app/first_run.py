"""What a database needs before it can serve: a schema, prices, a project and keys. Safe to run again at every start."""

from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import SecretStr

from app.core import schema
from app.core.clock import utc_now
from app.core.db import Database
from app.core.health import Dependency
from app.keys.service import KeyService, MintedKey
from app.prices.service import PriceService
from app.projects.service import ProjectService
from app.settings import Settings

_log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FirstKeys:
    """The keys of a new installation, shown once."""

    admin: MintedKey
    api: MintedKey


def open_database(settings: Settings) -> Database:
    """Return the configured database; the caller closes it."""
    assert settings.database_url is not None, "set by cli.py"  # noqa: S101 - narrows the type
    return Database(settings.database_url.get_secret_value(), settings.database, Dependency("database"))


def key_service(db: Database, settings: Settings) -> KeyService:
    """Return the keys of *db*."""
    assert settings.keys.pepper is not None, "set by cli.py"  # noqa: S101 - narrows the type
    return KeyService(db, settings.keys.pepper.get_secret_value().encode(), settings.keys, utc_now)


async def prepare(settings: Settings, *, migrate: bool) -> FirstKeys | None:
    """Bring the schema up to date if *migrate*, add new prices, and make the first keys of an empty installation.

    Returns these keys, None when there were keys already. Raises SchemaError for a schema that this Weir does not
    know or may not change, DatabaseUnavailable without a database.
    """
    db = open_database(settings)
    try:
        if migrate and not await schema.is_current(db):
            await schema.migrate(db)
        await schema.check(db)
        added = await PriceService(db).seed()
        if added:
            _log.info("prices_added", count=added)
        return await _first_keys(db, settings)
    finally:
        await db.close()


async def _first_keys(db: Database, settings: Settings) -> FirstKeys | None:
    keys = key_service(db, settings)
    project_id = await ProjectService(db).create_default()
    made = await keys.create_first(
        project_id,
        admin=_value(settings.bootstrap_admin_key),
        api=_value(settings.bootstrap_api_key),
    )
    return None if made is None else FirstKeys(*made)


def _value(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
