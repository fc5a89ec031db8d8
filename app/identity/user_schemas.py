"""The people of the organization and their roles on the wire, in OpenAI's shape.

https://platform.openai.com/docs/api-reference/users
"""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.core.pagination import Order, Page
from app.core.shape import Shape
from app.core.wire import Id, Listed, ListQuery, example_of, list_example, page_of
from app.errors import InvalidRequest
from app.identity.person import UserRecord
from app.identity.role_names import DESCRIPTIONS, RoleName, id_of, name_of, permissions_of
from app.identity.roles import Role
from app.identity.schemas import Email

_USER: Final[JsonDict] = {
    "id": "user_9b2e",
    "object": "organization.user",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "role": "owner",
    "added_at": 1795361640,
}
_ROLE: Final[JsonDict] = {
    "id": "role_viewer",
    "object": "role",
    "name": "viewer",
    "description": DESCRIPTIONS["viewer"],
    "permissions": ["organization.read"],
    "predefined_role": True,
    "resource_type": "api.organization",
}

RoleId = Annotated[Id, Field(description="`role_owner`, `role_admin`, `role_member` or `role_viewer`.")]


class UserUpdate(Shape):
    """Another role for somebody: by name, or by the id that the list of roles has."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"role": "owner"}})

    role: RoleName | None = Field(None, description="`reader`, as OpenAI says, is the same as `member`.")
    role_id: RoleId | None = None
    developer_persona: Any = None
    technical_level: Any = None

    @field_validator("developer_persona", "technical_level")
    @classmethod
    def _is_not_given(cls, value: Any) -> None:
        if value is not None:
            raise PydanticCustomError("not_supported", "Weir does not support it; leave it out")


class UserRoleBody(Shape):
    """The role that somebody is to have."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"role_id": "role_viewer"}})

    role_id: RoleId


class UsersQuery(ListQuery):
    """Which people to show, oldest first."""

    emails: list[Email] = Field(
        [], alias="emails[]", max_length=100, description="Only who has one of these addresses."
    )


class User(Shape):
    """A person of the organization."""

    model_config = example_of(_USER)

    id: str
    object: Literal["organization.user"] = "organization.user"
    name: str
    email: str
    role: RoleName
    added_at: int

    @classmethod
    def of(cls, user: UserRecord) -> "User":
        """Return *user* as they are shown."""
        added_at = int(user.created_at.timestamp())
        return cls(id=user.id, name=user.name, email=user.email, role=name_of(user.role), added_at=added_at)


class UserList(Listed[User]):
    """A page of people."""

    model_config = list_example(_USER)

    @classmethod
    def of(cls, page: Page[UserRecord]) -> "UserList":
        """Return *page* as it is shown."""
        return cls(**page_of([User.of(user) for user in page.items], has_more=page.has_more))


class RolesQuery(Shape):
    """Which of the four roles to show."""

    model_config = ConfigDict(extra="forbid")

    after: RoleId | None = None
    limit: int = Field(1_000, ge=0, le=1_000)
    order: Order = "asc"


class OrganizationRole(Shape):
    """One of the four roles that a person can have in the organization."""

    model_config = example_of(_ROLE)

    id: str
    object: Literal["role"] = "role"
    name: Role
    description: str
    permissions: list[str]
    predefined_role: Literal[True] = True
    resource_type: Literal["api.organization"] = "api.organization"

    @classmethod
    def of(cls, role: Role) -> "OrganizationRole":
        """Return *role* as it is shown."""
        return cls(id=id_of(role), name=role, description=DESCRIPTIONS[role], permissions=permissions_of(role))


class RoleList(Shape):
    """Roles; the next page begins after the one that `next` names."""

    model_config = example_of({"object": "list", "data": [_ROLE], "has_more": False, "next": None})

    object: Literal["list"] = "list"
    data: list[OrganizationRole]
    has_more: bool
    next: str | None

    @classmethod
    def of(cls, roles: list[Role], query: RolesQuery) -> "RoleList":
        """Return those of *roles* that are asked for."""
        ids = [id_of(role) for role in roles]
        if query.order == "desc":
            roles, ids = roles[::-1], ids[::-1]
        if query.after is not None and query.after not in ids:
            raise InvalidRequest("Invalid value for 'after': there is no such role in this list.", param="after")
        start = 0 if query.after is None else ids.index(query.after) + 1
        shown = [OrganizationRole.of(role) for role in roles[start : start + query.limit]]
        has_more = start + query.limit < len(ids)
        return cls(data=shown, has_more=has_more, next=shown[-1].id if has_more and shown else None)


class UserRole(Shape):
    """That a person has a role."""

    model_config = example_of({"object": "user.role", "user": _USER, "role": _ROLE})

    object: Literal["user.role"] = "user.role"
    user: User
    role: OrganizationRole


class UserRoleDeleted(Shape):
    """The role was taken from the person."""

    model_config = example_of({"object": "user.role.deleted", "deleted": True})

    object: Literal["user.role.deleted"] = "user.role.deleted"
    deleted: Literal[True] = True
