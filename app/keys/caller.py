"""Who is calling, as every feature sees it, and keys as people see them."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from app.keys.tokens import KeyKind


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated key. An `admin` key has no project."""

    key_id: str
    kind: KeyKind
    project_id: str | None
    expires_at: datetime | None
    user_id: str | None = None
    """The person whose key it is, None for a program's."""


class KeyRow(NamedTuple):
    """A key as it may be shown."""

    id: str
    kind: KeyKind
    project_id: str | None
    user_id: str | None
    name: str
    redacted: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
