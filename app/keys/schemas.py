"""Keys of projects on the wire, in OpenAI's shape.

https://platform.openai.com/docs/api-reference/project-api-keys
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.core.pagination import Page
from app.core.shape import Shape
from app.core.wire import Listed, ListQuery, Update, example_of, list_example, page_of
from app.keys.record import OwnedKey
from app.keys.scopes import SCOPES, read_scope

_TEN_YEARS_SECONDS: Final = 315_360_000
_OWNER: Final[JsonDict] = {"id": "svc_4c0e", "name": "Nightly report", "role": "member", "created_at": 1795361640}
_KEY: Final[JsonDict] = {
    "id": "key_5a1b",
    "object": "organization.project.api_key",
    "name": "Secret Key",
    "redacted_value": "wk-a1B2…9Z",
    "created_at": 1795361640,
    "expires_at": None,
    "last_used_at": None,
    "owner": {"type": "service_account", "user": None, "service_account": _OWNER},
    "owner_project_access": "active",
}


def _known_scope(name: str) -> str:
    try:
        return read_scope(name)
    except ValueError:
        raise PydanticCustomError("scope", f"it must be one of {', '.join(SCOPES)}") from None


Scopes = Annotated[
    list[Annotated[str, Field(max_length=100), AfterValidator(_known_scope)]], Field(max_length=len(SCOPES))
]
"""What a key may be used for; none for everything."""
ExpiresInSeconds = Annotated[int, Field(strict=True, ge=1, le=_TEN_YEARS_SECONDS)]


def unix_seconds(moment: datetime | None) -> int | None:
    """Return *moment* as it is shown."""
    return None if moment is None else int(moment.timestamp())


class ProjectKeyUpdate(Update):
    """What can be changed; what is not given stays."""

    model_config = example_of({"scopes": ["api.all.read"]})

    scopes: Scopes | None = Field(None, description="Instead of those it has; an empty list is everything.")
    expires_in_seconds: ExpiresInSeconds | None = Field(None, description="From now on.")

    def columns(self) -> dict[str, Any]:
        """Return what is set."""
        return self.model_dump(exclude_unset=True)


class ProjectKeysQuery(ListQuery):
    """Which keys of a project to list, oldest first."""

    owner_project_access: Literal["active", "inactive", "any"] = Field(
        "any", description="Whether the owner may make calls in the project."
    )

    @property
    def has_access(self) -> bool | None:
        """The filter, None for `any`."""
        return None if self.owner_project_access == "any" else self.owner_project_access == "active"


class KeyOwner(Shape):
    """A person or a service account; nobody owns a key that the command line made for a project."""

    type: Literal["user", "service_account"] | None
    user: dict[str, Any] | None = None
    service_account: dict[str, Any] | None = None

    @classmethod
    def of(cls, owned: OwnedKey) -> "KeyOwner":
        """Return the owner of *owned*."""
        if owned.key.user_id is not None:
            person = owned.person
            user = {
                "id": owned.key.user_id,
                "name": "" if person is None else person.name,
                "email": "" if person is None else person.email,
                "role": owned.role or "none",
                "created_at": int((owned.key if person is None else person).created_at.timestamp()),
            }
            return cls(type="user", user=user)
        if owned.account is None:
            return cls(type=None)
        created_at = int(owned.account.created_at.timestamp())
        account = {"id": owned.account.id, "name": owned.account.name, "role": owned.account.role}
        return cls(type="service_account", service_account={**account, "created_at": created_at})


class ProjectKey(Shape):
    """One key of a project."""

    model_config = example_of(_KEY)

    id: str
    object: Literal["organization.project.api_key"] = "organization.project.api_key"
    name: str
    redacted_value: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    owner: KeyOwner
    owner_project_access: Literal["active", "inactive"]

    @classmethod
    def of(cls, owned: OwnedKey) -> "ProjectKey":
        """Return a key as it is shown."""
        key = owned.key
        return cls(
            id=key.id,
            name=key.name,
            redacted_value=key.redacted,
            created_at=int(key.created_at.timestamp()),
            expires_at=unix_seconds(key.expires_at),
            last_used_at=unix_seconds(key.last_used_at),
            owner=KeyOwner.of(owned),
            owner_project_access="active" if owned.has_access else "inactive",
        )


class ProjectKeyList(Listed[ProjectKey]):
    """A page of a project's keys."""

    model_config = list_example(_KEY)

    @classmethod
    def of(cls, page: Page[OwnedKey]) -> "ProjectKeyList":
        """Return *page* as it is shown."""
        return cls(**page_of([ProjectKey.of(owned) for owned in page.items], has_more=page.has_more))
