"""Keys and service accounts, as they are made and as they may be shown. Pure: it holds digests nowhere, values once."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from app.core.ids import new_id
from app.identity.person import UserRecord
from app.identity.roles import PROJECT_RIGHTS, Role
from app.keys import tokens
from app.keys.tokens import KeyKind

AccountRole = Literal["owner", "member", "none"]


class NewKey(NamedTuple):
    """What can be chosen when a key is made."""

    kind: KeyKind
    name: str
    project_id: str | None = None
    user_id: str | None = None
    service_account_id: str | None = None
    expires_in_seconds: int | None = None
    """None for never."""
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    def minted(self, value: str | None = None) -> "MintedKey":
        """Return a key with *value*, or with a new random one."""
        return MintedKey(new_id("key"), value or tokens.mint(self.kind), self.kind, self.project_id, self.user_id)


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key; `value` is shown to its owner once and is not stored."""

    id: str
    value: str
    kind: KeyKind
    project_id: str | None
    user_id: str | None = None


class KeyRecord(NamedTuple):
    """A key's row, as it may be shown. `version` is counted up by every change."""

    id: str
    kind: KeyKind
    project_id: str | None
    user_id: str | None
    service_account_id: str | None
    name: str
    redacted: str
    scopes: list[str]
    models: list[str]
    networks: list[str]
    created_at: datetime
    expires_at: datetime | None
    previous_expires_at: datetime | None
    """Until when the value that it had before it was rotated works too."""
    last_used_at: datetime | None
    revoked_at: datetime | None
    version: int


class KeyFilter(NamedTuple):
    """Which keys to list; what is None does not matter."""

    kind: KeyKind | None = "api"
    project_ids: tuple[str, ...] | None = None
    owner_id: str | None = None
    """A person or a service account."""
    is_revoked: bool | None = None
    seen_by: tuple[str, tuple[str, ...]] | None = None
    """Only the keys of this person, and those of these projects."""
    has_access: bool | None = None
    """Whether the owner may make calls in the project."""
    callers: tuple[str, ...] | None = None
    """The people who may, as programs may; None where nobody may."""


class AccountRecord(NamedTuple):
    """A service account's row."""

    id: str
    project_id: str
    name: str
    role: AccountRole
    created_at: datetime
    deleted_at: datetime | None


class OwnedKey(NamedTuple):
    """A key, and whose it is: a person's, who may have been deleted, a service account's, or nobody's."""

    key: KeyRecord
    person: UserRecord | None = None
    account: AccountRecord | None = None
    role: Role | None = None
    """The person's, in the project."""
    is_open: bool = True
    """The project is not archived."""

    @property
    def has_access(self) -> bool:
        """Whether the owner may make calls in the project."""
        if not self.is_open:
            return False
        if self.key.user_id is not None:
            return self.role is not None and "call" in PROJECT_RIGHTS[self.role]
        return self.account is None or self.account.deleted_at is None
