"""What a database needs before it can serve: a schema, prices, a project and keys. Safe to run again at every start."""

from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import SecretStr

from app.core import schema
from app.core.clock import utc_now
from app.core.db import Database
from app.core.health import Dependency
from app.keys.record import MintedKey
from app.keys.service import KeyService
from app.keys.tokens import TOKEN_CHARACTERS_MAX, is_plausible
from app.prices.service import PriceService
from app.projects.service import ProjectService
from app.settings import Settings, SettingsError

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
    return KeyService(db, ProjectService(db), settings.keys, utc_now)


async def prepare(settings: Settings, *, migrate: bool) -> FirstKeys | None:
    """Bring the schema up to date if *migrate*, add new prices, and make the first keys of an empty installation.

    Returns these keys, None when there were keys already. Raises SettingsError for bootstrap keys that could never
    work, SchemaError for a schema that this Weir does not know or may not change, DatabaseUnavailable without one.
    """
    admin, api = _bootstrap_keys(settings)
    db = open_database(settings)
    try:
        before = await schema.current_revision(db)
        if migrate and before != schema.needed_revision():
            await schema.migrate(db)
        await schema.check(db)
        added = await PriceService(db).seed()
        if before is not None:  # everything is new in a new installation
            _log_changes(before, added)
        project_id = await ProjectService(db).create_default()
        made = await key_service(db, settings).create_first(project_id, admin=admin, api=api)
        return None if made is None else FirstKeys(*made)
    finally:
        await db.close()


def _log_changes(revision_before: str, prices_added: int) -> None:
    if revision_before != schema.needed_revision():
        _log.info("schema_migrated", revision=schema.needed_revision(), revision_before=revision_before)
    if prices_added:
        _log.info("prices_added", count=prices_added)


def _bootstrap_keys(settings: Settings) -> tuple[str | None, str | None]:
    admin, api = _value(settings.bootstrap_admin_key), _value(settings.bootstrap_api_key)
    for name, key in (("WEIR_BOOTSTRAP_ADMIN_KEY", admin), ("WEIR_BOOTSTRAP_API_KEY", api)):
        if key is not None and not is_plausible(key):
            raise SettingsError(
                f"{name}: must have {TOKEN_CHARACTERS_MAX} characters or less, and if it looks like a key that Weir "
                "made, be one: its last characters are a checksum, and this one's are wrong"
            )
    if admin is not None and admin == api:
        raise SettingsError("WEIR_BOOTSTRAP_API_KEY: must be another key than WEIR_BOOTSTRAP_ADMIN_KEY")
    return admin, api


def _value(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
