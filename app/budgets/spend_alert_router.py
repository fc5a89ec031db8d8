"""Spend alerts in OpenAI's shape: `client.admin.organization.spend_alerts` and `.projects.spend_alerts` of its SDK."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.budgets.spend_alert import SpendAlertRecord
from app.budgets.spend_alert_schemas import (
    AlertId,
    SpendAlert,
    SpendAlertBody,
    SpendAlertList,
    SpendAlertsQuery,
)
from app.core.version_tags import record_tag
from app.core.wire import Deleted
from app.deps import IfMatch, ProjectId, SpendAlertsDep
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/organization", tags=["Spend alerts"], route_class=ConditionalRoute)

_Alert = Annotated[AlertId, Path()]
_Query = Annotated[SpendAlertsQuery, Query()]


@router.get("/spend_alerts", summary="List the organization's spend alerts")
async def list_organization_alerts(query: _Query, alerts: SpendAlertsDep) -> SpendAlertList:
    """Return the alerts that are kept for the organization."""
    return SpendAlertList.of(await alerts.list_alerts(None, query.paging()))


@router.post("/spend_alerts", summary="Add a spend alert for the organization")
async def create_organization_alert(body: SpendAlertBody, alerts: SpendAlertsDep) -> SpendAlert:
    """Keep whom to tell once the organization has spent so much in a month. This version of Weir sends no mail yet."""
    return SpendAlert.of(await alerts.create(None, body.contents()))


@router.get("/spend_alerts/{alert_id}", summary="One of the organization's spend alerts")
async def get_organization_alert(alert_id: _Alert, response: Response, alerts: SpendAlertsDep) -> SpendAlert:
    """Return one alert."""
    return _answer(await alerts.get(None, alert_id), response)


@router.post("/spend_alerts/{alert_id}", summary="Replace a spend alert of the organization")
async def update_organization_alert(
    alert_id: _Alert, body: SpendAlertBody, response: Response, alerts: SpendAlertsDep, if_match: IfMatch = None
) -> SpendAlert:
    """Set everything that one alert says."""
    return _answer(await alerts.update(None, alert_id, body.contents(), if_match), response)


@router.delete("/spend_alerts/{alert_id}", summary="Delete a spend alert of the organization")
async def delete_organization_alert(alert_id: _Alert, alerts: SpendAlertsDep, if_match: IfMatch = None) -> Deleted:
    """Forget one alert."""
    await alerts.delete(None, alert_id, if_match)
    return Deleted(id=alert_id, object="organization.spend_alert.deleted")


@router.get("/projects/{project_id}/spend_alerts", summary="List a project's spend alerts")
async def list_project_alerts(project_id: ProjectId, query: _Query, alerts: SpendAlertsDep) -> SpendAlertList:
    """Return the alerts that are kept for a project."""
    return SpendAlertList.of(await alerts.list_alerts(project_id, query.paging()))


@router.post("/projects/{project_id}/spend_alerts", summary="Add a spend alert for a project")
async def create_project_alert(project_id: ProjectId, body: SpendAlertBody, alerts: SpendAlertsDep) -> SpendAlert:
    """Keep whom to tell once a project has spent so much in a month. This version of Weir sends no mail yet."""
    return SpendAlert.of(await alerts.create(project_id, body.contents()))


@router.get("/projects/{project_id}/spend_alerts/{alert_id}", summary="One of a project's spend alerts")
async def get_project_alert(
    project_id: ProjectId, alert_id: _Alert, response: Response, alerts: SpendAlertsDep
) -> SpendAlert:
    """Return one alert."""
    return _answer(await alerts.get(project_id, alert_id), response)


@router.post("/projects/{project_id}/spend_alerts/{alert_id}", summary="Replace a spend alert of a project")
async def update_project_alert(
    project_id: ProjectId,
    alert_id: _Alert,
    body: SpendAlertBody,
    response: Response,
    alerts: SpendAlertsDep,
    if_match: IfMatch = None,
) -> SpendAlert:
    """Set everything that one alert says."""
    return _answer(await alerts.update(project_id, alert_id, body.contents(), if_match), response)


@router.delete("/projects/{project_id}/spend_alerts/{alert_id}", summary="Delete a spend alert of a project")
async def delete_project_alert(
    project_id: ProjectId, alert_id: _Alert, alerts: SpendAlertsDep, if_match: IfMatch = None
) -> Deleted:
    """Forget one alert."""
    await alerts.delete(project_id, alert_id, if_match)
    return Deleted(id=alert_id, object="project.spend_alert.deleted")


def _answer(record: SpendAlertRecord, response: Response) -> SpendAlert:
    response.headers["etag"] = record_tag(record)
    return SpendAlert.of(record)
