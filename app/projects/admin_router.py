"""One project, its people and its models, in OpenAI's shape: `client.admin.organization.projects` of its SDK."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.core.version_tags import record_tag
from app.core.wire import Deleted, Id, ListQuery
from app.deps import IfMatch, MembersDep, ModelPermissionsDep, ProjectId, ProjectsDep
from app.observability.conditional import ConditionalRoute
from app.projects.record import Member, ModelPermissions, ProjectRecord
from app.projects.schemas import (
    ModelPermissionsBody,
    ModelPermissionsDeleted,
    Project,
    ProjectBody,
    ProjectModelPermissions,
    ProjectUser,
    ProjectUserBody,
    ProjectUserCreation,
    ProjectUserList,
)

router = APIRouter(prefix="/organization/projects/{project_id}", tags=["Projects"], route_class=ConditionalRoute)

_UserId = Annotated[Id, Path()]


@router.get("", summary="One project")
async def get_project(project_id: ProjectId, response: Response, projects: ProjectsDep) -> Project:
    """Return a project, archived or not."""
    return _project(await projects.get(project_id), response)


@router.post("", summary="Rename a project")
async def update_project(
    project_id: ProjectId, body: ProjectBody, response: Response, projects: ProjectsDep, if_match: IfMatch = None
) -> Project:
    """Give a project another name."""
    return _project(await projects.update(project_id, body.name, if_match), response)


@router.post("/archive", summary="Archive a project")
async def archive_project(
    project_id: ProjectId, response: Response, projects: ProjectsDep, if_match: IfMatch = None
) -> Project:
    """End a project for good: its keys stop working within a second. Nothing is deleted; it can still be read."""
    return _project(await projects.archive(project_id, if_match), response)


@router.get("/users", summary="List a project's people")
async def list_users(
    project_id: ProjectId, query: Annotated[ListQuery, Query()], members: MembersDep
) -> ProjectUserList:
    """Return who is in the project, in the order in which they came."""
    return ProjectUserList.of(await members.list_members(project_id, query.paging()))


@router.post("/users", summary="Add somebody to a project")
async def create_user(project_id: ProjectId, body: ProjectUserCreation, members: MembersDep) -> ProjectUser:
    """Let somebody of the organization take part in the project."""
    return ProjectUser.of(await members.create(project_id, body.user_id, body.email, body.role))


@router.get("/users/{user_id}", summary="Somebody in a project")
async def get_user(project_id: ProjectId, user_id: _UserId, response: Response, members: MembersDep) -> ProjectUser:
    """Return what somebody is in the project."""
    return _user(await members.get(project_id, user_id), response)


@router.post("/users/{user_id}", summary="Give somebody another role in a project")
async def update_user(
    project_id: ProjectId,
    user_id: _UserId,
    body: ProjectUserBody,
    response: Response,
    members: MembersDep,
    if_match: IfMatch = None,
) -> ProjectUser:
    """Set what somebody is in the project, from now on."""
    return _user(await members.update(project_id, user_id, body.role, if_match), response)


@router.delete("/users/{user_id}", summary="Take somebody out of a project")
async def delete_user(
    project_id: ProjectId, user_id: _UserId, members: MembersDep, if_match: IfMatch = None
) -> Deleted:
    """End somebody's part in the project: their keys in it stop working within a second."""
    await members.delete(project_id, user_id, if_match)
    return Deleted(id=user_id, object="organization.project.user.deleted")


@router.get("/model_permissions", summary="The models a project may call")
async def get_model_permissions(
    project_id: ProjectId, response: Response, permissions: ModelPermissionsDep
) -> ProjectModelPermissions:
    """Return which models may be called: all, where nothing was said."""
    return _permissions(await permissions.get(project_id), response)


@router.post("/model_permissions", summary="Say which models a project may call")
async def update_model_permissions(
    project_id: ProjectId,
    body: ModelPermissionsBody,
    response: Response,
    permissions: ModelPermissionsDep,
    if_match: IfMatch = None,
) -> ProjectModelPermissions:
    """Name the only models that may be called, or those that may not; for the rest there is no such model."""
    return _permissions(await permissions.update(project_id, body.permissions(), if_match), response)


@router.delete("/model_permissions", summary="Let a project call every model")
async def delete_model_permissions(
    project_id: ProjectId, permissions: ModelPermissionsDep, if_match: IfMatch = None
) -> ModelPermissionsDeleted:
    """Forget what was said about the project's models."""
    await permissions.delete(project_id, if_match)
    return ModelPermissionsDeleted()


def _project(project: ProjectRecord, response: Response) -> Project:
    response.headers["etag"] = record_tag(project)
    return Project.of(project)


def _permissions(permissions: ModelPermissions, response: Response) -> ProjectModelPermissions:
    response.headers["etag"] = record_tag(permissions)
    return ProjectModelPermissions.of(permissions)


def _user(member: Member, response: Response) -> ProjectUser:
    response.headers["etag"] = record_tag(member.record)
    return ProjectUser.of(member)
