"""Admin keys in OpenAI's shape: `client.admin.organization.admin_api_keys` of its SDK."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.core.version_tags import answer_tag
from app.core.wire import Deleted, Id, ListQuery
from app.deps import CallerDep, IfMatch, OwnedKeysDep
from app.keys.admin_key_schemas import AdminKey, AdminKeyCreation, AdminKeyList, NewAdminKey
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/organization/admin_api_keys", tags=["Admin keys"], route_class=ConditionalRoute)

_KeyId = Annotated[Id, Path()]


@router.get("", summary="List admin keys")
async def list_admin_keys(query: Annotated[ListQuery, Query()], keys: OwnedKeysDep) -> AdminKeyList:
    """Return the admin keys that are not revoked."""
    return AdminKeyList.of(await keys.list_admin(query.paging()))


@router.post("", summary="Make an admin key")
async def create_admin_key(body: AdminKeyCreation, keys: OwnedKeysDep, caller: CallerDep) -> NewAdminKey:
    """Make a key that may do everything but call models; its `value` is shown this once.

    One that a person makes works as long as that person is an owner of the organization.
    """
    return NewAdminKey.made(*await keys.create_admin(body.new(caller.user_id)))


@router.get("/{key_id}", summary="One admin key")
async def get_admin_key(key_id: _KeyId, response: Response, keys: OwnedKeysDep) -> AdminKey:
    """Return an admin key that is not revoked."""
    owned = await keys.get_admin(key_id)
    key = AdminKey.of(owned)
    response.headers["etag"] = answer_tag(owned.key.version, key.model_dump_json())
    return key


@router.delete("/{key_id}", summary="Revoke an admin key")
async def delete_admin_key(key_id: _KeyId, keys: OwnedKeysDep, if_match: IfMatch = None) -> Deleted:
    """End an admin key: it stops working within a second."""
    await keys.revoke_admin(key_id, if_match)
    return Deleted(id=key_id, object="organization.admin_api_key.deleted")
