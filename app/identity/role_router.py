"""The four roles in OpenAI's shape: `client.admin.organization.roles` and `.users.roles` of its SDK.

A person has exactly one: giving another one replaces it, and taking it away leaves the role of a member.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.deps import CallerDep, IfMatch, UsersDep
from app.errors import NotFound
from app.identity.role_names import DESCRIPTIONS, find_role
from app.identity.roles import Role
from app.identity.user_router import UserId
from app.identity.user_schemas import (
    OrganizationRole,
    RoleId,
    RoleList,
    RolesQuery,
    User,
    UserRole,
    UserRoleBody,
    UserRoleDeleted,
)
from app.identity.user_service import Editor
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/organization", tags=["Roles"], route_class=ConditionalRoute)

_RoleId = Annotated[RoleId, Path()]
_Query = Annotated[RolesQuery, Query()]


@router.get("/roles", summary="List the roles")
async def list_roles(query: _Query) -> RoleList:
    """Return the roles that a person can have in the organization. There are no others."""
    return RoleList.of(list(DESCRIPTIONS), query)


@router.get("/roles/{role_id}", summary="One role")
async def get_role(role_id: _RoleId) -> OrganizationRole:
    """Return one role."""
    return OrganizationRole.of(_found(role_id))


@router.get("/users/{user_id}/roles", summary="The role of somebody")
async def list_user_roles(user_id: UserId, query: _Query, users: UsersDep) -> RoleList:
    """Return the one role that a person has in the organization."""
    return RoleList.of([(await users.get(user_id)).role], query)


@router.post("/users/{user_id}/roles", summary="Give somebody a role")
async def create_user_role(
    user_id: UserId, body: UserRoleBody, users: UsersDep, caller: CallerDep, if_match: IfMatch = None
) -> UserRole:
    """Set the one role that a person has in the organization; the `ETag` is the person's."""
    role = _found(body.role_id)
    user = await users.update_role(user_id, role, Editor(caller.organization_role, if_match))
    return UserRole(user=User.of(user), role=OrganizationRole.of(role))


@router.get("/users/{user_id}/roles/{role_id}", summary="Whether somebody has a role")
async def get_user_role(user_id: UserId, role_id: _RoleId, users: UsersDep) -> OrganizationRole:
    """Return the role, if it is the one that the person has."""
    return OrganizationRole.of(await _role_of(users, user_id, role_id))


@router.delete("/users/{user_id}/roles/{role_id}", summary="Take a role from somebody")
async def delete_user_role(
    user_id: UserId, role_id: _RoleId, users: UsersDep, caller: CallerDep, if_match: IfMatch = None
) -> UserRoleDeleted:
    """Make a member of a person who has this role; the `ETag` is the person's."""
    await _role_of(users, user_id, role_id)
    await users.update_role(user_id, "member", Editor(caller.organization_role, if_match))
    return UserRoleDeleted()


async def _role_of(users: UsersDep, user_id: str, role_id: str) -> Role:
    role = _found(role_id)
    if (await users.get(user_id)).role != role:
        raise NotFound("The user has another role.", param="role_id")
    return role


def _found(role_id: str) -> Role:
    role = find_role(role_id)
    if role is None:
        raise NotFound("There is no role with this id.", param="role_id")
    return role
