"""A project's keys in OpenAI's shape: `client.admin.organization.projects.api_keys` of its SDK."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.core.version_tags import answer_tag
from app.core.wire import Deleted, Id
from app.deps import IfMatch, OwnedKeysDep, ProjectId
from app.keys.record import OwnedKey
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
async def get_project_key(
    project_id: ProjectId, api_key_id: _KeyId, response: Response, keys: OwnedKeysDep
) -> ProjectKey:
    """Return a key that is not revoked."""
    return _answer(await keys.get_of_project(project_id, api_key_id), response)


@router.post("/{api_key_id}", summary="Change one of a project's keys")
async def update_project_key(
    project_id: ProjectId,
    api_key_id: _KeyId,
    body: ProjectKeyUpdate,
    response: Response,
    keys: OwnedKeysDep,
    if_match: IfMatch = None,
) -> ProjectKey:
    """Set what a key may be used for, or until when. `/v1/gateway/keys` can change more of it."""
    return _answer(await keys.update_of_project(project_id, api_key_id, body.columns(), if_match), response)


@router.delete("/{api_key_id}", summary="Revoke one of a project's keys")
async def delete_project_key(
    project_id: ProjectId, api_key_id: _KeyId, keys: OwnedKeysDep, if_match: IfMatch = None
) -> Deleted:
    """End a key: it stops working within a second."""
    await keys.revoke_of_project(project_id, api_key_id, if_match)
    return Deleted(id=api_key_id, object="organization.project.api_key.deleted")


def _answer(owned: OwnedKey, response: Response) -> ProjectKey:
    key = ProjectKey.of(owned)
    response.headers["etag"] = answer_tag(owned.key.version, key.model_dump_json())
    return key
