"""Invites in OpenAI's shape: `client.admin.organization.invites` of its SDK."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.core.clock import utc_now
from app.core.version_tags import record_tag
from app.core.wire import Deleted, Id, ListQuery
from app.deps import CallerDep, IfMatch, InvitesDep
from app.identity.invite_schemas import Invite, InviteBody, InviteList, SentInvite
from app.identity.user_service import Editor
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/organization/invites", tags=["People"], route_class=ConditionalRoute)

_InviteId = Annotated[Id, Path()]


@router.get("", summary="List invites")
async def list_invites(query: Annotated[ListQuery, Query()], invites: InvitesDep) -> InviteList:
    """Return invites, the pending and the others, oldest first."""
    return InviteList.of(await invites.list_invites(query.paging()), utc_now())


@router.post("", summary="Invite somebody")
async def create_invite(body: InviteBody, invites: InvitesDep, caller: CallerDep) -> SentInvite:
    """Make an invite and show its token, once. Weir sends no mail: pass it on. Only an owner invites owners."""
    invite, token = await invites.create(body.new_invite(), Editor(caller.organization_role))
    return SentInvite.sent(invite, token)


@router.get("/{invite_id}", summary="One invite")
async def get_invite(invite_id: _InviteId, response: Response, invites: InvitesDep) -> Invite:
    """Return one invite, without its token."""
    invite, now = await invites.get(invite_id), utc_now()
    response.headers["etag"] = record_tag(invite.facts(now))
    return Invite.of(invite, now)


@router.delete("/{invite_id}", summary="Take an invite back")
async def delete_invite(invite_id: _InviteId, invites: InvitesDep, if_match: IfMatch = None) -> Deleted:
    """Delete an invite that was not accepted: its token stops working at once."""
    await invites.delete(invite_id, if_match)
    return Deleted(id=invite_id, object="organization.invite.deleted")
