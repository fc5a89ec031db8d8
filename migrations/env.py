"""How Alembic reaches the database, and how long a migration may wait for a lock, up and down alike.

A migration that waited for a lock would make every query behind it wait too; so it gives up and is run again.
"""

import asyncio
from typing import TYPE_CHECKING

from alembic import context
from sqlalchemy import Connection, text

from app.answers import models as answers
from app.audit import models as audit
from app.budgets import models as budgets
from app.core import schema
from app.core.db import Database
from app.core.health import Dependency
from app.core.orm import Base
from app.idempotency import models as idempotency
from app.identity import models as identity
from app.keys import models as keys
from app.ledger import models as ledger
from app.ledger import rollup_models as rollups
from app.limits import models as limits
from app.ownership import models as ownership
from app.prices import models as prices
from app.projects import models as projects
from app.reconciliation import models as reconciliation
from app.settings import load_settings
from app.upstreams import breaker_models as breakers
from app.upstreams import models as upstreams

if TYPE_CHECKING:
    from sqlalchemy.sql.schema import SchemaItem

TABLES_FROM = (
    answers,
    audit,
    breakers,
    budgets,
    idempotency,
    identity,
    keys,
    ledger,
    limits,
    ownership,
    prices,
    projects,
    reconciliation,
    rollups,
    upstreams,
)
_LOCK_TIMEOUT_MS = 5_000
_STATEMENT_TIMEOUT_MS = 600_000


def include_object(item: "SchemaItem", name: str | None, kind: str, reflected: bool, _: object) -> bool:
    """Leave the ledger's monthly partitions out of comparisons: the running service makes them."""
    return not (kind == "table" and reflected and name is not None and name.startswith("ledger_entries_y"))


def run(connection: Connection) -> None:
    """Run the migrations in one transaction."""
    context.configure(connection=connection, target_metadata=Base.metadata, include_object=include_object)
    with context.begin_transaction():
        connection.execute(text(f"SET LOCAL statement_timeout = {_STATEMENT_TIMEOUT_MS}"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))  # nobody waits behind this one
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('weir.migrate'))"))
        connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
        context.run_migrations()


async def connect_and_run() -> None:
    """Open a connection to the configured database and run the migrations on it."""
    settings = load_settings()
    if settings.database_url is None:
        raise SystemExit("WEIR_DATABASE_URL is not set; `weir migrate` starts the embedded database by itself.")
    db = Database(settings.database_url.get_secret_value(), settings.database, Dependency("database"))
    try:
        await schema.change(db, run)
    except schema.SchemaError as error:
        raise SystemExit(str(error)) from None
    finally:
        await db.close()


if (connection := context.config.attributes.get("connection")) is not None:
    run(connection)
else:
    asyncio.run(connect_and_run())
