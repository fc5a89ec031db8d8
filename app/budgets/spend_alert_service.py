"""Spend alerts are kept here, in OpenAI's shape. Nothing is sent by this module."""

from typing import Any

from app.audit.service import record as audit
from app.budgets import admin_repository
from app.budgets import spend_alert_repository as repository
from app.budgets.admin_service import Exists
from app.budgets.spend_alert import ALERTS_MAX, AlertContents, AlertPaging, SpendAlertRecord
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.core.pagination import Page
from app.core.version_tags import require_meant
from app.errors import InvalidRequest, NotFound


class SpendAlertService:
    """*project_id* is None for the organization; an unknown one raises NotFound, as an unknown alert does."""

    def __init__(self, db: Database, is_project: Exists) -> None:
        self._db = db
        self._is_project = is_project

    async def create(self, project_id: str | None, contents: AlertContents) -> SpendAlertRecord:
        """Keep a new alert; raises InvalidRequest when there are too many."""
        await self._check_project(project_id)
        async with self._db.transaction() as tx:
            if await repository.count_alerts(tx, project_id) >= ALERTS_MAX:
                raise InvalidRequest(f"There are {ALERTS_MAX} spend alerts already: delete one first.")
            now = await admin_repository.get_moment(tx)
            record = SpendAlertRecord(new_id("alert"), project_id, *contents, created_at=now)
            await repository.create_alert(tx, record)
            await audit(tx, "spend_alert.created", record.id, project_id=project_id, details={"data": _shown(contents)})
            return record

    async def get(self, project_id: str | None, alert_id: str) -> SpendAlertRecord:
        """Return an alert."""
        await self._check_project(project_id)
        async with self._db.transaction() as tx:
            return await self._get(tx, project_id, alert_id)

    async def update(
        self, project_id: str | None, alert_id: str, contents: AlertContents, if_match: str | None
    ) -> SpendAlertRecord:
        """Replace what an alert says; raises PreconditionFailed."""
        await self._check_project(project_id)
        async with self._db.transaction() as tx:
            record = await self._get(tx, project_id, alert_id, locks=True)
            require_meant(if_match, record)
            await repository.update_alert(tx, alert_id, contents)
            changes = {"changes_requested": _shown(contents)}
            await audit(tx, "spend_alert.updated", alert_id, project_id=project_id, details=changes)
            return record._replace(**contents._asdict())

    async def delete(self, project_id: str | None, alert_id: str, if_match: str | None) -> None:
        """Forget an alert; raises PreconditionFailed."""
        await self._check_project(project_id)
        async with self._db.transaction() as tx:
            require_meant(if_match, await self._get(tx, project_id, alert_id, locks=True))
            await repository.delete_alert(tx, alert_id)
            await audit(tx, "spend_alert.deleted", alert_id, project_id=project_id)

    async def list_alerts(self, project_id: str | None, paging: AlertPaging) -> Page[SpendAlertRecord]:
        """Return a page of alerts, oldest first unless told otherwise; raises NotFound for an unknown place."""
        await self._check_project(project_id)
        async with self._db.transaction() as tx:
            after, before = [
                None if alert_id is None else await self._get(tx, project_id, alert_id)
                for alert_id in (paging.after, paging.before)
            ]
            found = Page.of(await repository.list_alerts(tx, project_id, paging, after, before), paging.limit)
            return Page(found.items[::-1], found.has_more) if paging.is_backwards else found

    async def _check_project(self, project_id: str | None) -> None:
        if project_id is not None and not await self._is_project(project_id):
            raise NotFound("There is no project with this id.", param="project_id")

    async def _get(
        self, tx: Transaction, project_id: str | None, alert_id: str, *, locks: bool = False
    ) -> SpendAlertRecord:
        record = await repository.find_alert(tx, project_id, alert_id, locks=locks)
        if record is None:
            raise NotFound("There is no spend alert with this id.", param="alert_id")
        return record


def _shown(contents: AlertContents) -> dict[str, Any]:
    """Return what an alert says as the API does."""
    fields = contents._asdict()
    return {"threshold_amount": fields.pop("threshold_cents"), **fields}
