"""Projects and the people in them, as they are shown. Pure."""

from datetime import datetime
from typing import Literal, NamedTuple

from app.identity.person import UserRecord
from app.identity.roles import Role

ModelMode = Literal["allow_list", "deny_list"]
"""Whether the models that a project names are those that it may call, or those that it may not."""


class ProjectRecord(NamedTuple):
    """A project's row."""

    id: str
    name: str
    created_at: datetime
    archived_at: datetime | None


class MemberRecord(NamedTuple):
    """One person in one project."""

    project_id: str
    user_id: str
    role: Role
    added_at: datetime


class Member(NamedTuple):
    """One person in one project, and who that is."""

    record: MemberRecord
    person: UserRecord | None
    """None for somebody who was deleted a moment ago."""


class ModelPermissions(NamedTuple):
    """Which models a project may call: names, or patterns in which `*` stands for anything."""

    mode: ModelMode = "deny_list"
    model_ids: tuple[str, ...] = ()
