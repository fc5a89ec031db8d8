"""Managed upstreams on the wire. Moments are Unix seconds. A credential is only ever read, never shown."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, StringConstraints
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.core.pagination import Page
from app.core.shape import Shape
from app.core.wire import Listed, ListQuery, Name, Update, example_of, list_example, page_of
from app.upstreams.record import CONFIG_FIELDS, Sort, State, UpstreamConfig, UpstreamRecord
from app.upstreams.routing import Provider
from app.upstreams.trial import Trial, TrialFailure

_LIST_MAX: Final = 200
_NEW: Final[JsonDict] = {
    "name": "azure-eu",
    "provider": "azure",
    "base_url": "https://acme-eu.openai.azure.com",
    "models": [],
    "aliases": {"gpt-4o": "our-gpt-4o"},
    "priority": 0,
    "weight": 100,
}
_EXAMPLE: Final[JsonDict] = {
    "id": "upstream_0f9a4be1c2d34f5a8b7c6d5e4f3a2b1c",
    "object": "weir.upstream",
    **_NEW,
    "connect_timeout_seconds": None,
    "first_byte_timeout_seconds": 60,
    "between_chunks_timeout_seconds": None,
    "total_timeout_seconds": None,
    "api_version": "2024-10-21",
    "requests_per_minute": None,
    "calls_at_once": 50,
    "enabled": True,
    "redacted_api_key": "…a1B2",
    "state": "ready",
    "created_at": 1795361640,
    "updated_at": 1795361640,
}
_TRIAL: Final[JsonDict] = {
    "id": _EXAMPLE["id"],
    "object": "weir.upstream.test",
    "ok": False,
    "failure": "credential_refused",
    "message": "GET https://acme-eu.openai.azure.com/openai/v1/models: it answered 401: it does not accept this "
    "credential.",
    "duration_ms": 84,
    "models": [],
}


def _is_one_model(name: str) -> str:
    if set(name) & set("*?["):
        raise PydanticCustomError("alias", "it must be the name of one model, not a pattern")
    return name


def _travels_in_a_header(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise PydanticCustomError("credential", "it must be printable ASCII without spaces, as it travels in a header")
    return secret


_Timeout = Annotated[float, Field(gt=0, le=86_400)]
_ModelName = Annotated[Name, Field(min_length=1)]
_Alias = Annotated[_ModelName, AfterValidator(_is_one_model)]
_Url = Annotated[str, StringConstraints(min_length=1, max_length=2_048)]
_Credential = Annotated[SecretStr, Field(min_length=1, max_length=4_096), AfterValidator(_travels_in_a_header)]
_Whole = Annotated[int, Field(strict=True)]


class _UpstreamDetails(Shape):
    model_config = ConfigDict(extra="forbid")

    provider: Provider = Field(
        "openai", description="`azure`: Azure OpenAI; `openai`: everything that speaks as OpenAI."
    )
    api_key: _Credential | None = Field(None, description="What Weir authenticates with there. It is never shown.")
    models: list[_ModelName] = Field([], max_length=_LIST_MAX, description="Patterns of models it serves: `gpt-4o*`.")
    aliases: dict[_Alias, _ModelName] = Field(
        {}, max_length=_LIST_MAX, description="More models it serves, and what each is called there."
    )
    priority: Annotated[_Whole, Field(ge=-1_000, le=1_000)] = Field(
        0, description="The lower goes first; the upstream from the environment has 0."
    )
    weight: Annotated[_Whole, Field(ge=0, le=10_000)] = Field(
        100, description="Its share of calls among upstreams of the same priority."
    )
    connect_timeout_seconds: _Timeout | None = Field(None, description="Null: as in the settings; so the others.")
    first_byte_timeout_seconds: _Timeout | None = None
    between_chunks_timeout_seconds: _Timeout | None = None
    total_timeout_seconds: _Timeout | None = None
    api_version: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}(-[a-z]{1,16})?$")] | None = Field(
        None, description="Azure's, such as `2024-10-21`; null for its v1 API, which has none."
    )
    requests_per_minute: Annotated[_Whole, Field(ge=1, le=10_000_000)] | None = Field(
        None, description="Calls that it is sent in a minute at most."
    )
    calls_at_once: Annotated[_Whole, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Calls that it has at the same time at most."
    )
    enabled: bool = Field(default=True, description="Whether calls go there.")
    test: bool = Field(default=True, description="Save it only if it lists its models when it is asked now.")

    def given(self) -> dict[str, Any]:
        """Return what was given of it, the credential as text."""
        values = {name: getattr(self, name) for name in self.model_fields_set - {"test"}}
        if "models" in values:
            values["models"] = tuple(values["models"])
        if self.api_key is not None:
            values["api_key"] = self.api_key.get_secret_value()
        return values


class UpstreamCreation(_UpstreamDetails):
    """A new upstream."""

    model_config = example_of({**_NEW, "api_key": "your-azure-key", "api_version": "2024-10-21", "test": False})

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = Field(
        description="What receipts, logs and metrics call it, for good."
    )
    base_url: _Url = Field(description="Such as `https://api.openai.com/v1`; of Azure, the resource.")

    def new(self) -> tuple[UpstreamConfig, str | None]:
        """Return it for the service, and its credential."""
        values = self.given()
        api_key = values.pop("api_key", None)
        return UpstreamConfig(**values), api_key


class UpstreamUpdate(_UpstreamDetails, Update):
    """What can be changed; what is not given stays. Another server needs its credential again."""

    model_config = example_of({"weight": 50})
    nullable = frozenset(
        {
            "api_key",
            "api_version",
            "between_chunks_timeout_seconds",
            "calls_at_once",
            "connect_timeout_seconds",
            "first_byte_timeout_seconds",
            "requests_per_minute",
            "total_timeout_seconds",
        }
    )

    base_url: _Url | None = None


class UpstreamsQuery(ListQuery):
    """Which page to show, and in which order."""

    sort: Sort = "created_at"


class Upstream(Shape):
    """An OpenAI-compatible server and the account there."""

    model_config = example_of(_EXAMPLE)

    id: str
    object: Literal["weir.upstream"] = "weir.upstream"
    name: str
    provider: Provider
    base_url: str
    models: list[str]
    aliases: dict[str, str]
    priority: int
    weight: int
    connect_timeout_seconds: float | None
    first_byte_timeout_seconds: float | None
    between_chunks_timeout_seconds: float | None
    total_timeout_seconds: float | None
    api_version: str | None
    requests_per_minute: int | None
    calls_at_once: int | None
    enabled: bool
    redacted_api_key: str | None
    state: State = Field(description="Whether calls may go there, and if not, why.")
    created_at: int
    updated_at: int

    @classmethod
    def of(cls, record: UpstreamRecord, state: State) -> "Upstream":
        """Return *record* as it is shown."""
        values = {name: getattr(record, name) for name in CONFIG_FIELDS}
        moments = {name: int(getattr(record, name).timestamp()) for name in ("created_at", "updated_at")}
        return cls(id=record.id, redacted_api_key=record.api_key_redacted, state=state, **values, **moments)


class UpstreamList(Listed[Upstream]):
    """A page of upstreams; ask for the next one with `after` set to `last_id`."""

    model_config = list_example(_EXAMPLE)

    @classmethod
    def of(cls, page: Page[Upstream]) -> "UpstreamList":
        """Return *page* as it is shown."""
        return cls(**page_of(page.items, has_more=page.has_more))


class UpstreamTest(Shape):
    """How an upstream answered when it was asked for its models."""

    model_config = example_of(_TRIAL)

    id: str
    object: Literal["weir.upstream.test"] = "weir.upstream.test"
    ok: bool
    failure: TrialFailure | None
    message: str
    duration_ms: int
    models: list[str] = Field(description="The models it has that calls are sent there for.")

    @classmethod
    def of(cls, upstream_id: str, trial: Trial) -> "UpstreamTest":
        """Return *trial* as it is shown."""
        return cls(id=upstream_id, ok=trial.failure is None, **trial._asdict())
