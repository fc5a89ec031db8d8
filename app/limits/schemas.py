"""Limits on the wire. Moments are Unix seconds."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from app.core.pagination import Page
from app.core.shape import Shape
from app.core.wire import Listed, ListQuery, Update, example_of, list_example, page_of
from app.limits.amounts import Counts
from app.limits.lease import Charge, Standing
from app.limits.limit import MAXIMUM_MAX, Mode, Per, Scope
from app.limits.record import LimitFilter, LimitRecord, NewLimit, Sort

_NEW_EXAMPLE: Final[JsonDict] = {
    "name": "Everybody",
    "scope": "user",
    "scope_id": None,
    "model": None,
    "counts": "requests",
    "per": "minute",
    "maximum": 100,
    "mode": "enforcing",
}
_EXAMPLE: Final[JsonDict] = {
    "id": "lim_0f9a4be1c2d34f5a8b7c6d5e4f3a2b1c",
    "object": "weir.limit",
    **_NEW_EXAMPLE,
    "created_at": 1795361640,
    "updated_at": 1795361640,
}
_STANDING_EXAMPLE: Final[JsonDict] = {
    "id": "lim_0f9a4be1c2d34f5a8b7c6d5e4f3a2b1c",
    **_NEW_EXAMPLE,
    "remaining": 97,
    "reset_ms": 60120,
}

Text = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
Maximum = Annotated[int, Field(strict=True, ge=0, le=MAXIMUM_MAX)]


class LimitCreation(Shape):
    """A new limit."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _NEW_EXAMPLE})

    name: Name = Field(description="What callers read when it is reached.")
    scope: Scope = Field(description="Whose calls count; of an `address` only those that are not authenticated.")
    scope_id: Text | None = Field(
        None, description="Which project, user ...; without one, each of them has a counter of its own."
    )
    model: Text | None = Field(
        None, description="Only models that match this, all together: `gpt-4o*` (`*`, `?`, `[a-z]`)."
    )
    counts: Counts
    per: Per | None = Field(None, description="How long a window is; it slides. None for `concurrent`.")
    maximum: Maximum = Field(description="0 refuses every call.")
    mode: Mode = Field("enforcing", description="`shadow` only says, in the metrics, what it would have refused.")

    def new_limit(self) -> NewLimit:
        """Return it for the service."""
        return NewLimit(**{**self.model_dump(), "model": None if self.model == "*" else self.model})


class LimitUpdate(Update):
    """What can be changed; what is not given stays. For another scope, model or window make another limit."""

    model_config = example_of({"maximum": 200})
    thing = "limit"
    fixed = frozenset({"scope", "scope_id", "model", "counts", "per"})

    name: Name | None = None
    maximum: Maximum | None = Field(None, description="What was used of it already stays counted.")
    mode: Mode | None = None


class LimitsQuery(ListQuery):
    """Which limits to list."""

    scope: Scope | None = None
    scope_id: Text | None = None
    model: Text | None = Field(None, description="Only those with exactly this pattern.")
    counts: Counts | None = None
    mode: Mode | None = None
    sort: Sort = "created_at"

    def filter(self) -> LimitFilter:
        """Return which limits are wanted."""
        return LimitFilter(self.scope, self.scope_id, self.model, self.counts, self.mode)


class Limit(Shape):
    """How much of something may be used in any window of a length, or at once."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: str
    object: Literal["weir.limit"] = "weir.limit"
    name: str
    scope: Scope
    scope_id: str | None
    model: str | None
    counts: Counts
    per: Per | None
    maximum: int
    mode: Mode
    created_at: int
    updated_at: int

    @classmethod
    def of(cls, record: LimitRecord) -> "Limit":
        """Return *record* as it is shown."""
        values = {name: getattr(record, name) for name in NewLimit._fields}
        moments = {name: int(getattr(record, name).timestamp()) for name in ("created_at", "updated_at")}
        return cls(id=record.id, **values, **moments)


class LimitList(Listed[Limit]):
    """A page of limits; ask for the next one with `after` set to `last_id`."""

    model_config = list_example(_EXAMPLE)

    @classmethod
    def of(cls, page: Page[LimitRecord]) -> "LimitList":
        """Return *page* as it is shown."""
        return cls(**page_of([Limit.of(record) for record in page.items], has_more=page.has_more))


class LimitStanding(Shape):
    """A limit that calls count in, and how it stands now."""

    model_config = ConfigDict(json_schema_extra={"example": _STANDING_EXAMPLE})

    id: str
    name: str
    scope: Scope
    scope_id: str | None = Field(description="None also where each has a counter of its own: this is the caller's.")
    model: str | None
    counts: Counts
    per: Per | None
    maximum: int
    mode: Mode
    remaining: int
    reset_ms: int = Field(description="Milliseconds until all of it is back; 0 for concurrent calls.")

    @classmethod
    def of(cls, charge: Charge, standing: Standing) -> "LimitStanding":
        """Return the limit of *charge* as it is shown."""
        values = {name: getattr(charge.limit, name) for name in NewLimit._fields}
        return cls(id=charge.limit.id, **values, remaining=standing.remaining, reset_ms=standing.reset_ms)


class OwnLimits(Shape):
    """Every limit that calls of the caller count in, for some model at least."""

    model_config = ConfigDict(json_schema_extra={"example": {"object": "list", "data": [_STANDING_EXAMPLE]}})

    object: Literal["list"] = "list"
    data: list[LimitStanding]
    has_more: Literal[False] = False

    @classmethod
    def of(cls, charges: Sequence[Charge], standings: Sequence[Standing]) -> "OwnLimits":
        """Return the limits as they are shown."""
        return cls(data=[LimitStanding.of(*pair) for pair in zip(charges, standings, strict=True)])
