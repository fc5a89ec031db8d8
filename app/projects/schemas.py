"""Projects, the people in them, and the models that they may call, on the wire, in OpenAI's shape.

https://platform.openai.com/docs/api-reference/projects
"""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.core.pagination import Page
from app.core.shape import Shape
from app.core.wire import Id, Listed, ListQuery, Name, example_of, list_example, page_of
from app.identity.roles import Role
from app.projects.record import Member, ModelMode, ModelPermissions, ProjectRecord

_MODELS_MAX: Final = 1_000
_PROJECT: Final[JsonDict] = {
    "id": "proj_7d1c",
    "object": "organization.project",
    "name": "Research",
    "created_at": 1795361640,
    "archived_at": None,
    "status": "active",
}
_USER: Final[JsonDict] = {
    "id": "user_9b2e",
    "object": "organization.project.user",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "role": "member",
    "added_at": 1795361640,
}
_PERMISSIONS: Final[JsonDict] = {"mode": "allow_list", "model_ids": ["gpt-4o-mini", "sim-*"]}


class ProjectBody(Shape):
    """What a project is called. Weir keeps data where it is installed, so there is nothing to say about places."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "Research"}})

    name: Name
    external_key_id: Any = None
    geography: Any = None
    residency: Any = None

    @field_validator("external_key_id", "geography", "residency")
    @classmethod
    def _is_not_given(cls, value: Any) -> None:
        if value is not None:
            raise PydanticCustomError("not_supported", "Weir does not support it; leave it out")


class Project(Shape):
    """The tenant that keys, calls and costs belong to."""

    model_config = example_of(_PROJECT)

    id: str
    object: Literal["organization.project"] = "organization.project"
    name: str
    created_at: int
    archived_at: int | None
    status: Literal["active", "archived"]

    @classmethod
    def of(cls, project: ProjectRecord) -> "Project":
        """Return *project* as it is shown."""
        archived_at = project.archived_at
        return cls(
            id=project.id,
            name=project.name,
            created_at=int(project.created_at.timestamp()),
            archived_at=None if archived_at is None else int(archived_at.timestamp()),
            status="active" if archived_at is None else "archived",
        )


class ProjectList(Listed[Project]):
    """A page of projects."""

    model_config = list_example(_PROJECT)

    @classmethod
    def of(cls, page: Page[ProjectRecord]) -> "ProjectList":
        """Return *page* as it is shown."""
        return cls(**page_of([Project.of(project) for project in page.items], has_more=page.has_more))


class ProjectsQuery(ListQuery):
    """Which projects to list."""

    include_archived: bool = Field(default=False, description="The archived ones too.")


class ProjectUserBody(Shape):
    """What a person is to be in a project."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"role": "member"}})

    role: Role


class ProjectUserCreation(ProjectUserBody):
    """Somebody of the organization, by id or by e-mail address."""

    model_config = example_of({"email": "ada@example.com", "role": "member"})

    user_id: Id | None = None
    email: Annotated[str, Field(max_length=320)] | None = None


class ProjectUser(Shape):
    """One person in a project."""

    model_config = example_of(_USER)

    id: str
    object: Literal["organization.project.user"] = "organization.project.user"
    name: str | None
    email: str | None
    role: Role
    added_at: int

    @classmethod
    def of(cls, member: Member) -> "ProjectUser":
        """Return *member* as it is shown."""
        record, person = member
        return cls(
            id=record.user_id,
            name=None if person is None else person.name,
            email=None if person is None else person.email,
            role=record.role,
            added_at=int(record.added_at.timestamp()),
        )


class ProjectUserList(Listed[ProjectUser]):
    """A page of the people in a project."""

    model_config = list_example(_USER)

    @classmethod
    def of(cls, page: Page[Member]) -> "ProjectUserList":
        """Return *page* as it is shown."""
        return cls(**page_of([ProjectUser.of(member) for member in page.items], has_more=page.has_more))


class ModelPermissionsBody(Shape):
    """The only models that may be called, or those that may not: by name, `*` standing for anything."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _PERMISSIONS})

    mode: ModelMode
    model_ids: Annotated[list[Name], Field(max_length=_MODELS_MAX)]

    def permissions(self) -> ModelPermissions:
        """Return it for the service."""
        return ModelPermissions(self.mode, tuple(dict.fromkeys(self.model_ids)))


class ProjectModelPermissions(Shape):
    """Which models a project may call; a deny list without models lets it call all."""

    model_config = example_of({"object": "project.model_permissions", **_PERMISSIONS})

    object: Literal["project.model_permissions"] = "project.model_permissions"
    mode: ModelMode
    model_ids: list[str]

    @classmethod
    def of(cls, permissions: ModelPermissions) -> "ProjectModelPermissions":
        """Return *permissions* as they are shown."""
        return cls(mode=permissions.mode, model_ids=list(permissions.model_ids))


class ModelPermissionsDeleted(Shape):
    """Every model may be called again."""

    model_config = example_of({"object": "project.model_permissions.deleted", "deleted": True})

    object: Literal["project.model_permissions.deleted"] = "project.model_permissions.deleted"
    deleted: bool = True
