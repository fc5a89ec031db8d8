"""Keys with all that Weir knows of them. A person manages the own ones here, and those of projects that they manage."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.core.version_tags import version_tag
from app.core.wire import Deleted, Id
from app.deps import CallerDep, IfMatch, KeyAdminDep
from app.keys.admin_schemas import (
    GatewayKey,
    GatewayKeyList,
    KeyCreation,
    KeyRotation,
    KeysQuery,
    KeyUpdate,
    NewGatewayKey,
)
from app.keys.admin_service import KeyEditor
from app.keys.record import KeyFilter, KeyRecord
from app.keys.rights import require_creation, seen_by
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/gateway/keys", tags=["Keys"], route_class=ConditionalRoute)

_KeyId = Annotated[Id, Path()]


@router.get("", summary="List keys")
async def list_keys(query: Annotated[KeysQuery, Query()], keys: KeyAdminDep, caller: CallerDep) -> GatewayKeyList:
    """Return the API keys that the caller may see, the revoked ones too."""
    return GatewayKeyList.of(await keys.list_keys(seen_by(caller, query.filter()), query.sort, query.paging()))


@router.post("", summary="Make a key")
async def create_key(body: KeyCreation, response: Response, keys: KeyAdminDep, caller: CallerDep) -> NewGatewayKey:
    """Make a key for a person or a service account; its `value` is shown this once. Members make their own ones."""
    new = body.new(caller.user_id)
    require_creation(caller, new)
    key, value = await keys.create(new)
    _tag(key, response)
    return NewGatewayKey.made(key, value)


@router.get("/{key_id}", summary="One key")
async def get_key(key_id: _KeyId, response: Response, keys: KeyAdminDep, caller: CallerDep) -> GatewayKey:
    """Return a key, revoked or not."""
    key = await keys.get(key_id, seen_by(caller, KeyFilter()))
    _tag(key, response)
    return GatewayKey.of(key)


@router.patch("/{key_id}", summary="Change a key")
async def update_key(
    key_id: _KeyId,
    body: KeyUpdate,
    response: Response,
    keys: KeyAdminDep,
    caller: CallerDep,
    if_match: IfMatch = None,
) -> GatewayKey:
    """Set name, scopes, models, networks or expiry; every replica heeds it within a second."""
    editor = KeyEditor(caller, if_match)
    key = await keys.update(key_id, seen_by(caller, KeyFilter()), body.columns(), editor)
    _tag(key, response)
    return GatewayKey.of(key)


@router.post("/{key_id}/rotate", summary="Give a key a new value")
async def rotate_key(
    key_id: _KeyId,
    body: KeyRotation,
    response: Response,
    keys: KeyAdminDep,
    caller: CallerDep,
    if_match: IfMatch = None,
) -> NewGatewayKey:
    """Return a new `value`, this once; the one before works beside it for `grace_seconds`. Id and limits stay."""
    editor = KeyEditor(caller, if_match)
    key, value = await keys.rotate(key_id, seen_by(caller, KeyFilter()), body.grace_seconds, editor)
    _tag(key, response)
    return NewGatewayKey.made(key, value)


@router.delete("/{key_id}", summary="Revoke a key")
async def revoke_key(key_id: _KeyId, keys: KeyAdminDep, caller: CallerDep, if_match: IfMatch = None) -> Deleted:
    """End a key: it stops working within a second. It can still be read."""
    await keys.revoke(key_id, seen_by(caller, KeyFilter()), KeyEditor(caller, if_match))
    return Deleted(id=key_id, object="weir.api_key.deleted")


def _tag(key: KeyRecord, response: Response) -> None:
    response.headers["etag"] = version_tag(key.version, key.last_used_at)
