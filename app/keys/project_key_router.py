"""A project's keys in OpenAI's shape: `client.admin.organization.projects.api_keys` of its SDK."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.core.wire import Deleted, Id
from app.deps import OwnedKeysDep, ProjectId
from app.keys.schemas import ProjectKey, ProjectKeyList, ProjectKeysQuery, ProjectKeyUpdate
from app.observability.conditional import ConditionalRoute

router = APIRouter(
    prefix="/organization/projects/{project_id}/api_keys", tags=["Project keys"], route_class=ConditionalRoute
)

_KeyId = Annotated[Id, Path()]


@router.get("", summary="List a project's keys")
async def list_project_keys(
    project_id: ProjectId, query: Annotated[ProjectKeysQuery, Query()], keys: OwnedKeysDep
) -> ProjectKeyList:
    """Return the keys that are not revoked, oldest first, with those who own them."""
    return ProjectKeyList.of(await keys.list_of_project(project_id, query.has_access, query.paging()))


@router.get("/{api_key_id}", summary="One of a project's keys")
async def get_project_key(project_id: ProjectId, api_key_id: _KeyId, keys: OwnedKeysDep) -> ProjectKey:
    """Return a key that is not revoked."""
    return ProjectKey.of(await keys.get_of_project(project_id, api_key_id))


@router.post("/{api_key_id}", summary="Change one of a project's keys")
async def update_project_key(
    project_id: ProjectId, api_key_id: _KeyId, body: ProjectKeyUpdate, keys: OwnedKeysDep
) -> ProjectKey:
    """Set what a key may be used for, or until when. `/v1/gateway/keys` can change more of it."""
    return ProjectKey.of(await keys.update_of_project(project_id, api_key_id, body.columns()))


@router.delete("/{api_key_id}", summary="Revoke one of a project's keys")
async def delete_project_key(project_id: ProjectId, api_key_id: _KeyId, keys: OwnedKeysDep) -> Deleted:
    """End a key: it stops working within a second."""
    await keys.revoke_of_project(project_id, api_key_id)
    return Deleted(id=api_key_id, object="organization.project.api_key.deleted")
