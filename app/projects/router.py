"""The list of projects: whoever asks sees those that are theirs to see. `client.admin.organization.projects.list`."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.deps import CallerDep, ProjectsDep
from app.observability.conditional import ConditionalRoute
from app.projects.schemas import ProjectList, ProjectsQuery

router = APIRouter(prefix="/organization", tags=["Projects"], route_class=ConditionalRoute)


@router.get("/projects", summary="List projects")
async def list_projects(
    query: Annotated[ProjectsQuery, Query()], projects: ProjectsDep, caller: CallerDep
) -> ProjectList:
    """Return the projects, oldest first: all of them, or a person's own where their role shows no others."""
    own = None if caller.may("read", None) else tuple(caller.project_roles)
    return ProjectList.of(await projects.list_projects(own, query.paging(), include_archived=query.include_archived))
