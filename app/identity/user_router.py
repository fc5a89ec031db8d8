"""The organization's people in OpenAI's shape: `client.admin.organization.users` of its SDK."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.core.version_tags import version_tag
from app.core.wire import Deleted, Id
from app.deps import CallerDep, IfMatch, UsersDep
from app.errors import InvalidRequest, MissingParameter
from app.identity.role_names import find_role, role_of
from app.identity.roles import Role
from app.identity.user_schemas import User, UserList, UsersQuery, UserUpdate
from app.identity.user_service import Editor
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/organization/users", tags=["People"], route_class=ConditionalRoute)

UserId = Annotated[Id, Path()]


@router.get("", summary="List people")
async def list_users(query: Annotated[UsersQuery, Query()], users: UsersDep) -> UserList:
    """Return the people of the organization, or those with certain e-mail addresses."""
    return UserList.of(await users.list_users(query.emails, query.paging()))


@router.get("/{user_id}", summary="One person")
async def get_user(user_id: UserId, response: Response, users: UsersDep) -> User:
    """Return one person."""
    user = await users.get(user_id)
    response.headers["etag"] = version_tag(user.version)
    return User.of(user)


@router.post("/{user_id}", summary="Give somebody another role")
async def update_user(
    user_id: UserId,
    body: UserUpdate,
    response: Response,
    users: UsersDep,
    caller: CallerDep,
    if_match: IfMatch = None,
) -> User:
    """Set what a person is in the organization, on every replica within a second.

    Only an owner makes or unmakes owners, and the last one stays.
    """
    user = await users.update_role(user_id, _wanted(body), Editor(caller.organization_role, if_match))
    response.headers["etag"] = version_tag(user.version)
    return User.of(user)


@router.delete("/{user_id}", summary="Take somebody out of the organization")
async def delete_user(user_id: UserId, users: UsersDep, caller: CallerDep, if_match: IfMatch = None) -> Deleted:
    """Delete a person: their sessions and keys stop working within a second. The bill and the audit log keep them."""
    await users.delete(user_id, Editor(caller.organization_role, if_match))
    return Deleted(id=user_id, object="organization.user.deleted")


def _wanted(body: UserUpdate) -> Role:
    if body.role is None and body.role_id is None:
        raise MissingParameter("role")
    if body.role is not None and body.role_id is not None:
        raise InvalidRequest("Give 'role' or 'role_id', not both.", param="role_id")
    role = find_role(body.role_id or "") if body.role is None else role_of(body.role)
    if role is None:
        raise InvalidRequest("Invalid value for 'role_id': there is no such role.", param="role_id")
    return role
