"""Projects are made here. `client.admin.organization.projects.create` of OpenAI's SDK."""

from fastapi import APIRouter

from app.deps import ProjectsDep
from app.projects.schemas import Project, ProjectBody

router = APIRouter(prefix="/organization", tags=["Projects"])


@router.post("/projects", summary="Make a project")
async def create_project(body: ProjectBody, projects: ProjectsDep) -> Project:
    """Make a project; give it people, service accounts and limits next."""
    return Project.of(await projects.create(body.name))
