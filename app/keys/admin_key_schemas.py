"""Admin keys on the wire, in OpenAI's shape: https://platform.openai.com/docs/api-reference/admin-api-keys."""

from typing import Any, Final, Literal

from pydantic import ConfigDict
from pydantic.config import JsonDict

from app.core.pagination import Page
from app.core.shape import Shape
from app.core.wire import Listed, Name, example_of, list_example, page_of
from app.keys.record import NewKey, OwnedKey
from app.keys.schemas import ExpiresInSeconds, unix_seconds

_KEY: Final[JsonDict] = {
    "id": "key_0d7f",
    "object": "organization.admin_api_key",
    "name": "Terraform",
    "redacted_value": "wa-c3D4…7Q",
    "created_at": 1795361640,
    "expires_at": None,
    "last_used_at": None,
    "owner": {
        "type": "user",
        "object": "organization.user",
        "id": "user_9b2e",
        "name": "Ada Lovelace",
        "created_at": 1795361000,
        "role": "owner",
    },
}


class AdminKeyCreation(Shape):
    """A new admin key."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "Terraform"}})

    name: Name
    expires_in_seconds: ExpiresInSeconds | None = None

    def new(self, user_id: str | None) -> NewKey:
        """Return it for the service, as made by a person or by another key."""
        return NewKey("admin", self.name, user_id=user_id, expires_in_seconds=self.expires_in_seconds)


class AdminKey(Shape):
    """A key that manages the installation; the owner is who made it, null where that was another key."""

    model_config = example_of(_KEY)

    id: str
    object: Literal["organization.admin_api_key"] = "organization.admin_api_key"
    name: str
    redacted_value: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    owner: dict[str, Any]

    @classmethod
    def of(cls, owned: OwnedKey) -> "AdminKey":
        """Return a key as it is shown."""
        return cls(**_fields(owned))


class NewAdminKey(AdminKey):
    """An admin key with its value: the only time that it can be read."""

    model_config = example_of({**_KEY, "value": "wa-…"})

    value: str

    @classmethod
    def made(cls, owned: OwnedKey, value: str) -> "NewAdminKey":
        """Return a key as it is shown once."""
        return cls(**_fields(owned), value=value)


class AdminKeyList(Listed[AdminKey]):
    """A page of admin keys."""

    model_config = list_example(_KEY)

    @classmethod
    def of(cls, page: Page[OwnedKey]) -> "AdminKeyList":
        """Return *page* as it is shown."""
        return cls(**page_of([AdminKey.of(owned) for owned in page.items], has_more=page.has_more))


def _fields(owned: OwnedKey) -> dict[str, Any]:
    key, person = owned.key, owned.person
    return {
        "id": key.id,
        "name": key.name,
        "redacted_value": key.redacted,
        "created_at": int(key.created_at.timestamp()),
        "expires_at": unix_seconds(key.expires_at),
        "last_used_at": unix_seconds(key.last_used_at),
        "owner": {
            "type": "user",
            "object": "organization.user",
            "id": key.user_id,
            "name": None if person is None else person.name,
            "created_at": None if person is None else int(person.created_at.timestamp()),
            "role": "owner",
        },
    }
