"""Keys with all that Weir knows of them, on the wire. Moments are Unix seconds."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.core.pagination import Page
from app.core.shape import Shape
from app.core.wire import Id, Listed, ListQuery, Name, example_of, list_example, not_null, page_of
from app.errors import InvalidRequest, MissingParameter
from app.keys.networks import read_network
from app.keys.record import KeyFilter, KeyRecord, NewKey
from app.keys.schemas import ExpiresInSeconds, Scopes, unix_seconds

_LIST_MAX: Final = 100
_GRACE_SECONDS_MAX: Final = 2_592_000
_NEW: Final[JsonDict] = {
    "name": "Ada's laptop",
    "project_id": "proj_default",
    "user_id": "user_9b2e",
    "scopes": ["api.model.request"],
    "models": ["gpt-4o*"],
    "networks": ["203.0.113.0/24"],
}
_KEY: Final[JsonDict] = {
    "id": "key_5a1b",
    "object": "weir.api_key",
    **_NEW,
    "service_account_id": None,
    "redacted_value": "wk-a1B2…9Z",
    "created_at": 1795361640,
    "expires_at": None,
    "previous_value_expires_at": None,
    "last_used_at": 1795361700,
    "revoked_at": None,
}


def _known_network(text: str) -> str:
    try:
        return str(read_network(text))
    except ValueError:
        raise PydanticCustomError(
            "network", "it must be a network such as 203.0.113.0/24, without bits behind its prefix"
        ) from None


Models = Annotated[list[Name], Field(max_length=_LIST_MAX)]
Networks = Annotated[
    list[Annotated[str, Field(max_length=64), AfterValidator(_known_network)]], Field(max_length=_LIST_MAX)
]


class _KeyDetails(Shape):
    model_config = ConfigDict(extra="forbid")

    scopes: Scopes = Field([], description="What it may be used for; empty for everything.")
    models: Models = Field([], description="The only models it may call; `*` stands for anything. Empty for all.")
    networks: Networks = Field([], description="The only networks it may be used from (CIDR); empty for everywhere.")
    expires_in_seconds: ExpiresInSeconds | None = Field(None, description="From now on; never if null.")


class KeyCreation(_KeyDetails):
    """A new key, for a person or a service account; for whoever asks, if they are a person and name neither."""

    model_config = example_of(_NEW)

    name: Name
    project_id: Id
    user_id: Id | None = None
    service_account_id: Id | None = None

    def new(self, caller_user_id: str | None) -> NewKey:
        """Return it for the service; raises MissingParameter where it is not said for whom, InvalidRequest for two."""
        if self.user_id is not None and self.service_account_id is not None:
            raise InvalidRequest("A key is for 'user_id' or for 'service_account_id'.", param="service_account_id")
        user_id = self.user_id or (None if self.service_account_id is not None else caller_user_id)
        if user_id is None and self.service_account_id is None:
            raise MissingParameter("user_id")
        return NewKey(
            "api",
            self.name,
            self.project_id,
            user_id,
            self.service_account_id,
            self.expires_in_seconds,
            tuple(self.scopes),
            tuple(self.models),
            tuple(self.networks),
        )


class KeyUpdate(_KeyDetails):
    """What can be changed; what is not given stays. A key's owner and project stay as they are."""

    model_config = example_of({"models": ["gpt-4o-mini"], "expires_in_seconds": 86400})

    name: Name | None = None

    _is_given = field_validator("name", mode="before")(not_null)

    def columns(self) -> dict[str, Any]:
        """Return what is set."""
        return self.model_dump(exclude_unset=True)


class KeyRotation(Shape):
    """For how long the value that the key has now goes on working beside the new one."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"grace_seconds": 3600}})

    grace_seconds: int = Field(0, strict=True, ge=0, le=_GRACE_SECONDS_MAX)


class KeysQuery(ListQuery):
    """Which keys to list."""

    project_id: Id | None = None
    owner_id: Id | None = Field(None, description="A person or a service account.")
    revoked: bool | None = Field(None, description="Only the revoked ones, or only the others.")
    sort: Literal["created_at", "name"] = "created_at"

    def filter(self) -> KeyFilter:
        """Return which keys are wanted."""
        project_ids = None if self.project_id is None else (self.project_id,)
        return KeyFilter("api", project_ids, self.owner_id, self.revoked)


class GatewayKey(Shape):
    """A key without its value."""

    model_config = example_of(_KEY)

    id: str
    object: Literal["weir.api_key"] = "weir.api_key"
    name: str
    project_id: str | None
    user_id: str | None
    service_account_id: str | None
    redacted_value: str
    scopes: list[str]
    models: list[str]
    networks: list[str]
    created_at: int
    expires_at: int | None
    previous_value_expires_at: int | None = Field(description="Until when the value before a rotation works too.")
    last_used_at: int | None = Field(description="Some seconds late.")
    revoked_at: int | None

    @classmethod
    def of(cls, key: KeyRecord) -> "GatewayKey":
        """Return *key* as it is shown."""
        return cls(**_fields(key))


class NewGatewayKey(GatewayKey):
    """A key with its value: the only time that it can be read."""

    model_config = example_of({**_KEY, "value": "wk-…"})

    value: str

    @classmethod
    def made(cls, key: KeyRecord, value: str) -> "NewGatewayKey":
        """Return *key* as it is shown once."""
        return cls(**_fields(key), value=value)


class GatewayKeyList(Listed[GatewayKey]):
    """A page of keys."""

    model_config = list_example(_KEY)

    @classmethod
    def of(cls, page: Page[KeyRecord]) -> "GatewayKeyList":
        """Return *page* as it is shown."""
        return cls(**page_of([GatewayKey.of(key) for key in page.items], has_more=page.has_more))


def _fields(key: KeyRecord) -> dict[str, Any]:
    same = ("id", "name", "project_id", "user_id", "service_account_id", "scopes", "models", "networks")
    moments = ("created_at", "expires_at", "last_used_at", "revoked_at")
    return {
        **{name: getattr(key, name) for name in same},
        **{name: unix_seconds(getattr(key, name)) for name in moments},
        "redacted_value": key.redacted,
        "previous_value_expires_at": unix_seconds(key.previous_expires_at),
    }
