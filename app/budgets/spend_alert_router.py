"""Spend alerts in OpenAI's shape: `client.admin.organization.spend_alerts` and `.projects.spend_alerts` of its SDK."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.budgets.spend_alert_schemas import (
    AlertId,
    SpendAlert,
    SpendAlertBody,
    SpendAlertDeleted,
    SpendAlertList,
    SpendAlertsQuery,
)
from app.deps import ProjectId, SpendAlertsDep

router = APIRouter(prefix="/organization", tags=["Spend alerts"])

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
async def get_organization_alert(alert_id: _Alert, alerts: SpendAlertsDep) -> SpendAlert:
    """Return one alert."""
    return SpendAlert.of(await alerts.get(None, alert_id))


@router.post("/spend_alerts/{alert_id}", summary="Replace a spend alert of the organization")
async def update_organization_alert(alert_id: _Alert, body: SpendAlertBody, alerts: SpendAlertsDep) -> SpendAlert:
    """Set everything that one alert says."""
    return SpendAlert.of(await alerts.update(None, alert_id, body.contents()))


@router.delete("/spend_alerts/{alert_id}", summary="Delete a spend alert of the organization")
async def delete_organization_alert(alert_id: _Alert, alerts: SpendAlertsDep) -> SpendAlertDeleted:
    """Forget one alert."""
    await alerts.delete(None, alert_id)
    return SpendAlertDeleted(id=alert_id, object="organization.spend_alert.deleted")


@router.get("/projects/{project_id}/spend_alerts", summary="List a project's spend alerts")
async def list_project_alerts(project_id: ProjectId, query: _Query, alerts: SpendAlertsDep) -> SpendAlertList:
    """Return the alerts that are kept for a project."""
    return SpendAlertList.of(await alerts.list_alerts(project_id, query.paging()))


@router.post("/projects/{project_id}/spend_alerts", summary="Add a spend alert for a project")
async def create_project_alert(project_id: ProjectId, body: SpendAlertBody, alerts: SpendAlertsDep) -> SpendAlert:
    """Keep whom to tell once a project has spent so much in a month. This version of Weir sends no mail yet."""
    return SpendAlert.of(await alerts.create(project_id, body.contents()))


@router.get("/projects/{project_id}/spend_alerts/{alert_id}", summary="One of a project's spend alerts")
async def get_project_alert(project_id: ProjectId, alert_id: _Alert, alerts: SpendAlertsDep) -> SpendAlert:
    """Return one alert."""
    return SpendAlert.of(await alerts.get(project_id, alert_id))


@router.post("/projects/{project_id}/spend_alerts/{alert_id}", summary="Replace a spend alert of a project")
async def update_project_alert(
    project_id: ProjectId, alert_id: _Alert, body: SpendAlertBody, alerts: SpendAlertsDep
) -> SpendAlert:
    """Set everything that one alert says."""
    return SpendAlert.of(await alerts.update(project_id, alert_id, body.contents()))


@router.delete("/projects/{project_id}/spend_alerts/{alert_id}", summary="Delete a spend alert of a project")
async def delete_project_alert(project_id: ProjectId, alert_id: _Alert, alerts: SpendAlertsDep) -> SpendAlertDeleted:
    """Forget one alert."""
    await alerts.delete(project_id, alert_id)
    return SpendAlertDeleted(id=alert_id, object="project.spend_alert.deleted")
