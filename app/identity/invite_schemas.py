"""Invites on the wire, in OpenAI's shape.

https://platform.openai.com/docs/api-reference/invite
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.core.pagination import Page
from app.core.shape import Shape
from app.core.wire import Id, Listed, example_of, list_example, page_of
from app.identity.invite import InviteRecord, InviteStatus, NewInvite
from app.identity.role_names import RoleName, name_of, role_of
from app.identity.roles import Role
from app.identity.schemas import Email

_PROJECTS_MAX: Final = 100
_PROJECTS: Final[JsonDict] = {"id": "proj_default", "role": "member"}
_INVITE: Final[JsonDict] = {
    "id": "invite_4f0c",
    "object": "organization.invite",
    "email": "ada@example.com",
    "role": "reader",
    "status": "pending",
    "projects": [_PROJECTS],
    "created_at": 1795361640,
    "expires_at": 1795966440,
    "accepted_at": None,
}


class InviteProject(Shape):
    """A project that somebody is invited to."""

    model_config = ConfigDict(extra="forbid")

    id: Id
    role: Role


class InviteBody(Shape):
    """Whom to invite, and as what."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"email": "ada@example.com", "role": "reader", "projects": [_PROJECTS]}},
    )

    email: Email
    role: RoleName = Field(description="In the organization; `reader`, as OpenAI says, is the same as `member`.")
    projects: Annotated[list[InviteProject], Field(max_length=_PROJECTS_MAX)] | None = Field(
        None, description="Where the person becomes what; left out, a member of the project that everybody starts in."
    )

    def new_invite(self) -> NewInvite:
        """Return it for the service."""
        projects = None if self.projects is None else {project.id: project.role for project in self.projects}
        return NewInvite(self.email, role_of(self.role), projects)


class Invite(Shape):
    """An invitation to the organization."""

    model_config = example_of(_INVITE)

    id: str
    object: Literal["organization.invite"] = "organization.invite"
    email: str
    role: RoleName
    status: InviteStatus
    projects: list[InviteProject]
    created_at: int
    expires_at: int
    accepted_at: int | None

    @classmethod
    def of(cls, invite: InviteRecord, now: datetime) -> "Invite":
        """Return *invite* as it is shown at the moment *now*."""
        return cls(**_fields(invite, now))


class SentInvite(Invite):
    """A new invitation. Weir sends no mail: pass the token on to whom it is for."""

    model_config = example_of({**_INVITE, "token": "wi-…"})

    token: str = Field(description="Shown this once; `POST /v1/gateway/auth/invites/accept` takes it.")

    @classmethod
    def sent(cls, invite: InviteRecord, token: str) -> "SentInvite":
        """Return *invite* as it is shown to who has made it."""
        return cls(**_fields(invite, invite.created_at), token=token)


class InviteList(Listed[Invite]):
    """A page of invites."""

    model_config = list_example(_INVITE)

    @classmethod
    def of(cls, page: Page[InviteRecord], now: datetime) -> "InviteList":
        """Return *page* as it is shown at the moment *now*."""
        return cls(**page_of([Invite.of(invite, now) for invite in page.items], has_more=page.has_more))


def _fields(invite: InviteRecord, now: datetime) -> dict[str, object]:
    accepted_at = invite.accepted_at
    return {
        "id": invite.id,
        "email": invite.email,
        "role": name_of(invite.role),
        "status": invite.status(now),
        "projects": [InviteProject(**project) for project in invite.projects],
        "created_at": int(invite.created_at.timestamp()),
        "expires_at": int(invite.expires_at.timestamp()),
        "accepted_at": None if accepted_at is None else int(accepted_at.timestamp()),
    }
