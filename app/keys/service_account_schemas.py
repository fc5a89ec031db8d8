"""Service accounts on the wire, in OpenAI's shape.

https://platform.openai.com/docs/api-reference/project-service-accounts
"""

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.core.pagination import Page
from app.core.shape import Shape
from app.core.wire import Listed, Name, Update, example_of, list_example, page_of
from app.keys.record import AccountRecord, AccountRole, KeyRecord, NewKey
from app.keys.schemas import ExpiresInSeconds, Scopes, unix_seconds

_FIRST_KEY_NAME: Final = "Secret Key"
_ACCOUNT: Final[JsonDict] = {
    "id": "svc_4c0e",
    "object": "organization.project.service_account",
    "name": "Nightly report",
    "role": "member",
    "created_at": 1795361640,
}
_NEW_KEY: Final[JsonDict] = {
    "id": "key_5a1b",
    "object": "organization.project.service_account.api_key",
    "name": "Secret Key",
    "value": "wk-…",
    "created_at": 1795361640,
    "expires_at": None,
}


class ServiceAccountCreation(Shape):
    """A new program in a project."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "Nightly report"}})

    name: Name
    create_service_account_only: bool | None = Field(None, description="Without a key, and without a role.")
    expires_in_seconds: ExpiresInSeconds | None = Field(None, description="Until its first key expires; never if null.")

    @field_validator("expires_in_seconds")
    @classmethod
    def _has_a_key(cls, value: int | None, info: Any) -> int | None:
        if value is not None and info.data.get("create_service_account_only"):
            raise PydanticCustomError("no_key", "there is no key to expire with create_service_account_only")
        return value

    def first_key(self) -> NewKey | None:
        """Return the key that the account begins with, if it does."""
        if self.create_service_account_only:
            return None
        return NewKey("api", _FIRST_KEY_NAME, expires_in_seconds=self.expires_in_seconds)


class ServiceAccountUpdate(Update):
    """What can be changed; what is not given stays."""

    model_config = example_of({"role": "owner"})

    name: Name | None = None
    role: Literal["owner", "member"] | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns that are set."""
        return self.model_dump(exclude_unset=True)


class ServiceAccount(Shape):
    """One program in a project."""

    model_config = example_of(_ACCOUNT)

    id: str
    object: Literal["organization.project.service_account"] = "organization.project.service_account"
    name: str
    role: AccountRole
    created_at: int

    @classmethod
    def of(cls, account: AccountRecord) -> "ServiceAccount":
        """Return *account* as it is shown."""
        created_at = int(account.created_at.timestamp())
        return cls(id=account.id, name=account.name, role=account.role, created_at=created_at)


class ServiceAccountList(Listed[ServiceAccount]):
    """A page of service accounts."""

    model_config = list_example(_ACCOUNT)

    @classmethod
    def of(cls, page: Page[AccountRecord]) -> "ServiceAccountList":
        """Return *page* as it is shown."""
        return cls(**page_of([ServiceAccount.of(account) for account in page.items], has_more=page.has_more))


class NewAccountKey(Shape):
    """A key of a service account, with its value: the only time that it can be read."""

    model_config = example_of(_NEW_KEY)

    id: str
    object: Literal["organization.project.service_account.api_key"] = "organization.project.service_account.api_key"
    name: str
    value: str
    created_at: int
    expires_at: int | None

    @classmethod
    def of(cls, key: KeyRecord, value: str) -> "NewAccountKey":
        """Return *key* as it is shown once."""
        created_at, expires_at = int(key.created_at.timestamp()), unix_seconds(key.expires_at)
        return cls(id=key.id, name=key.name, value=value, created_at=created_at, expires_at=expires_at)


class NewServiceAccount(ServiceAccount):
    """A service account and its first key, if it has one."""

    model_config = example_of({**_ACCOUNT, "api_key": _NEW_KEY})

    api_key: NewAccountKey | None

    @classmethod
    def made(cls, account: AccountRecord, key: tuple[KeyRecord, str] | None) -> "NewServiceAccount":
        """Return *account* as it is shown once."""
        shown = ServiceAccount.of(account)
        return cls(**dict(shown), api_key=None if key is None else NewAccountKey.of(*key))


class AccountKeyCreation(Shape):
    """One more key of a service account."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "Backup"}})

    name: Name = _FIRST_KEY_NAME
    scopes: Scopes = Field([])
    expires_in_seconds: ExpiresInSeconds | None = None

    def new(self) -> NewKey:
        """Return it for the service, which knows whose it is."""
        return NewKey("api", self.name, scopes=tuple(self.scopes), expires_in_seconds=self.expires_in_seconds)
