"""`weir reconcile`: the comparison of one day, on demand, by the service that does it every day."""

from datetime import date

from app.core import schema
from app.core.clock import Clock, utc_now
from app.core.db import Database
from app.first_run import open_database
from app.ledger.day_service import DayCostService
from app.reconciliation.client import ProviderClient
from app.reconciliation.comparison import DayCheck
from app.reconciliation.service import ReconciliationService
from app.settings import Settings, SettingsError
from app.upstreams.routing import FIRST_UPSTREAM


def reconciliation_service(settings: Settings, db: Database, clock: Clock) -> ReconciliationService:
    """Return the service for the first upstream; raises SettingsError without an admin key."""
    admin_api_key = settings.reconciliation.admin_api_key
    if admin_api_key is None:
        raise SettingsError(
            "WEIR_RECONCILIATION__ADMIN_API_KEY: not set; it takes an admin key of the provider's organization, which "
            "is another key than OPENAI_API_KEY and may read costs"
        )
    base_url = settings.reconciliation.base_url or settings.openai_base_url
    provider = ProviderClient(FIRST_UPSTREAM, base_url, admin_api_key.get_secret_value())
    return ReconciliationService(db, DayCostService(db), provider, settings.reconciliation, clock)


async def reconcile(settings: Settings, day: date) -> DayCheck:
    """Check *day* and return the result; raises what `ReconciliationService.check` raises, and SchemaError."""
    db = open_database(settings)
    try:
        service = reconciliation_service(settings, db, utc_now)
        await schema.check(db)
        return await service.check(day)
    finally:
        await db.close()
