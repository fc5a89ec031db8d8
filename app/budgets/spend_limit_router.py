"""Spend limits in OpenAI's shape: `client.admin.organization.spend_limit` and `.projects.spend_limit` of its SDK."""

from fastapi import APIRouter

from app.budgets.spend_limit_schemas import SpendLimit, SpendLimitDeleted, SpendLimitUpdate
from app.deps import CallerDep, ProjectId, SpendLimitsDep

router = APIRouter(prefix="/organization", tags=["Spend limits"])


@router.get("/spend_limit", summary="The organization's spend limit")
async def get_organization_limit(limits: SpendLimitsDep) -> SpendLimit:
    """Return the hard limit for each month; 404 while there is none."""
    return SpendLimit.of("organization", await limits.get(None))


@router.post("/spend_limit", summary="Set the organization's spend limit")
async def update_organization_limit(body: SpendLimitUpdate, limits: SpendLimitsDep, admin: CallerDep) -> SpendLimit:
    """Make or replace the hard limit: calls that do not fit are refused from now on, what is spent already counts."""
    return SpendLimit.of("organization", await limits.update(None, body.threshold_amount, admin.key_id))


@router.delete("/spend_limit", summary="Delete the organization's spend limit")
async def delete_organization_limit(limits: SpendLimitsDep, admin: CallerDep) -> SpendLimitDeleted:
    """Archive the budget behind the hard limit."""
    await limits.delete(None, admin.key_id)
    return SpendLimitDeleted(object="organization.spend_limit.deleted")


@router.get("/projects/{project_id}/spend_limit", summary="A project's spend limit")
async def get_project_limit(project_id: ProjectId, limits: SpendLimitsDep) -> SpendLimit:
    """Return the hard limit for each month; 404 while there is none."""
    return SpendLimit.of("project", await limits.get(project_id))


@router.post("/projects/{project_id}/spend_limit", summary="Set a project's spend limit")
async def update_project_limit(
    project_id: ProjectId, body: SpendLimitUpdate, limits: SpendLimitsDep, admin: CallerDep
) -> SpendLimit:
    """Make or replace the hard limit: calls that do not fit are refused from now on, what is spent already counts."""
    return SpendLimit.of("project", await limits.update(project_id, body.threshold_amount, admin.key_id))


@router.delete("/projects/{project_id}/spend_limit", summary="Delete a project's spend limit")
async def delete_project_limit(project_id: ProjectId, limits: SpendLimitsDep, admin: CallerDep) -> SpendLimitDeleted:
    """Archive the budget behind the hard limit."""
    await limits.delete(project_id, admin.key_id)
    return SpendLimitDeleted(object="project.spend_limit.deleted")
