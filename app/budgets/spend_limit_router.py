"""Spend limits in OpenAI's shape: `client.admin.organization.spend_limit` and `.projects.spend_limit` of its SDK.

A project's people may read its limit; only the organization's admins set it: who could raise their own would have none.
"""

from fastapi import APIRouter, Response

from app.budgets.record import BudgetRecord, Editor
from app.budgets.spend_limit_schemas import Owner, SpendLimit, SpendLimitDeleted, SpendLimitUpdate
from app.core.version_tags import version_tag
from app.deps import CallerDep, IfMatch, ProjectId, SpendLimitsDep
from app.observability.conditional import ConditionalRoute

read_router = APIRouter(prefix="/organization", tags=["Spend limits"], route_class=ConditionalRoute)
router = APIRouter(prefix="/organization", tags=["Spend limits"], route_class=ConditionalRoute)


@router.get("/spend_limit", summary="The organization's spend limit")
async def get_organization_limit(response: Response, limits: SpendLimitsDep) -> SpendLimit:
    """Return the hard limit for each month; 404 while there is none."""
    return _answer("organization", await limits.get(None), response)


@router.post("/spend_limit", summary="Set the organization's spend limit")
async def update_organization_limit(
    body: SpendLimitUpdate, response: Response, limits: SpendLimitsDep, admin: CallerDep, if_match: IfMatch = None
) -> SpendLimit:
    """Make or replace the hard limit: calls that do not fit are refused from now on, what is spent already counts."""
    editor = Editor(admin.key_id, if_match)
    return _answer("organization", await limits.update(None, body.threshold_amount, editor), response)


@router.delete("/spend_limit", summary="Delete the organization's spend limit")
async def delete_organization_limit(
    limits: SpendLimitsDep, admin: CallerDep, if_match: IfMatch = None
) -> SpendLimitDeleted:
    """Archive the budget behind the hard limit."""
    await limits.delete(None, Editor(admin.key_id, if_match))
    return SpendLimitDeleted(object="organization.spend_limit.deleted")


@read_router.get("/projects/{project_id}/spend_limit", summary="A project's spend limit")
async def get_project_limit(project_id: ProjectId, response: Response, limits: SpendLimitsDep) -> SpendLimit:
    """Return the hard limit for each month; 404 while there is none."""
    return _answer("project", await limits.get(project_id), response)


@router.post("/projects/{project_id}/spend_limit", summary="Set a project's spend limit")
async def update_project_limit(
    project_id: ProjectId,
    body: SpendLimitUpdate,
    response: Response,
    limits: SpendLimitsDep,
    admin: CallerDep,
    if_match: IfMatch = None,
) -> SpendLimit:
    """Make or replace the hard limit: calls that do not fit are refused from now on, what is spent already counts."""
    editor = Editor(admin.key_id, if_match)
    return _answer("project", await limits.update(project_id, body.threshold_amount, editor), response)


@router.delete("/projects/{project_id}/spend_limit", summary="Delete a project's spend limit")
async def delete_project_limit(
    project_id: ProjectId, limits: SpendLimitsDep, admin: CallerDep, if_match: IfMatch = None
) -> SpendLimitDeleted:
    """Archive the budget behind the hard limit."""
    await limits.delete(project_id, Editor(admin.key_id, if_match))
    return SpendLimitDeleted(object="project.spend_limit.deleted")


def _answer(owner: Owner, record: BudgetRecord, response: Response) -> SpendLimit:
    response.headers["etag"] = version_tag(record.version)
    return SpendLimit.of(owner, record)
