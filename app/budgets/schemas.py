"""Budgets on the wire. Amounts are decimal dollars in strings, exact to a nano-dollar; moments are Unix seconds."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from app.budgets.amounts import read_amount, read_limit
from app.budgets.budget import Mode, Scope
from app.budgets.periods import Period, is_zone
from app.budgets.record import (
    SPEND_LIMIT,
    BudgetFilter,
    BudgetRecord,
    NewBudget,
    Standing,
    WindowRecord,
)
from app.core.money import Nano, usd_text
from app.core.shape import Shape
from app.core.wire import ListQuery, Update, example_of

_WINDOW_EXAMPLE: Final[JsonDict] = {
    "starts_at": 1793491200,
    "ends_at": 1796083200,
    "limit_usd": "250",
    "extra_usd": "0",
    "opening_usd": "0",
    "spent_usd": "12.0413205",
    "reserved_usd": "0.00984",
    "withheld_usd": "0",
    "remaining_usd": "237.9488395",
}
_NEW_EXAMPLE: Final[JsonDict] = {
    "name": "Research",
    "scope": "project",
    "scope_id": "proj_default",
    "period": "month",
    "limit_usd": "250",
}
BUDGET_EXAMPLE: Final[JsonDict] = {
    "id": "bud_0f9a4be1c2d34f5a8b7c6d5e4f3a2b1c",
    "object": "weir.budget",
    **_NEW_EXAMPLE,
    "model": None,
    "time_zone": "UTC",
    "mode": "enforcing",
    "paused_at": None,
    "archived_at": None,
    "created_at": 1795361640,
    "updated_at": 1795361640,
    "window": _WINDOW_EXAMPLE,
}


_ODD_ZONE: Final = re.compile(r"localtime|posixrules|Factory|(posix|right)/.*")
"""What stands among the zones of some machines, and is missing or means something else on others."""


def _known_zone(name: str) -> str:
    if _ODD_ZONE.fullmatch(name) or not is_zone(name):
        raise PydanticCustomError("time_zone", "it must be the name of a time zone such as 'UTC' or 'Europe/Berlin'")
    return name


def _free_name(name: str) -> str:
    if name == SPEND_LIMIT:
        raise PydanticCustomError("name", "this name is kept for the spend limits of /v1/organization")
    return name


_amount_schema: Final = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
Limit = Annotated[int, BeforeValidator(read_limit), _amount_schema]
Amount = Annotated[int, BeforeValidator(read_amount), _amount_schema]
Text = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]*$")]


class BudgetCreation(Shape):
    """A new budget."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _NEW_EXAMPLE})

    name: Annotated[Name, AfterValidator(_free_name)] = Field(description="What callers read when it is spent.")
    scope: Scope = Field(description="Whose calls count.")
    scope_id: Text | None = Field(None, description="Which project, user or API key; none for the organization.")
    model: Text | None = Field(None, description="Only models that match this, such as `gpt-4o*` (`*`, `?`, `[a-z]`).")
    period: Period = Field(description="How long a window is; `total` never ends.")
    time_zone: Annotated[Text, AfterValidator(_known_zone)] = Field("UTC", description="Where windows begin.")
    limit_usd: Limit = Field(description='Dollars per window, such as `"10.50"` or `10`; 0 refuses every call.')
    mode: Mode = Field("enforcing", description="`observing` counts and never refuses.")

    def new_budget(self) -> NewBudget:
        """Return it for the service."""
        return NewBudget(
            name=self.name,
            scope=self.scope,
            scope_id=self.scope_id,
            model=self.model,
            period=self.period,
            time_zone=self.time_zone,
            limit_nano=Nano(self.limit_usd),
            mode=self.mode,
        )


class BudgetUpdate(Update):
    """What can be changed; what is not given stays. For another scope, model, period or time zone make another one."""

    model_config = example_of({"limit_usd": "300"})
    thing = "budget"
    fixed = frozenset({"scope", "scope_id", "model", "period", "time_zone"})

    name: Annotated[Name, AfterValidator(_free_name)] | None = None
    limit_usd: Limit | None = Field(None, description="Counts in the current window already.")
    mode: Mode | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns that are set."""
        given = self.model_dump(exclude_unset=True)
        return {"limit_nano" if name == "limit_usd" else name: value for name, value in given.items()}


class TopUp(Shape):
    """What to add to the limit of the current window."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"amount_usd": "5"}})

    amount_usd: Amount = Field(description="Dollars; a negative amount takes some away.")

    @property
    def nano(self) -> Nano:
        """The amount in nano-dollars."""
        return Nano(self.amount_usd)


class BudgetsQuery(ListQuery):
    """Which budgets to list."""

    scope: Scope | None = None
    scope_id: Text | None = None
    model: Text | None = Field(None, description="Only those with exactly this pattern.")
    mode: Mode | None = None
    archived: bool = Field(False, description="The archived ones instead of those in force.")
    sort: Literal["created_at", "name"] = "created_at"

    def filter(self) -> BudgetFilter:
        """Return which budgets are wanted."""
        return BudgetFilter(self.scope, self.scope_id, self.model, self.mode, self.archived)


class BudgetWindow(Shape):
    """A day, week, month, or all time, of a budget."""

    starts_at: int
    ends_at: int | None = Field(description="The first second of the next one; null for `total`.")
    limit_usd: str = Field(description="What may be spent in it, top-ups included.")
    extra_usd: str = Field(description="What was added for this window only.")
    opening_usd: str | None = Field(
        description="Part of `spent_usd`: spent in it before the budget was made; null while that is being counted."
    )
    spent_usd: str
    reserved_usd: str = Field(description="What calls under way could still cost.")
    withheld_usd: str = Field(description="What calls with an estimated cost may have cost more than that, at most.")
    remaining_usd: str = Field(description="The limit without what is spent, reserved and withheld.")

    @classmethod
    def values(cls, record: BudgetRecord, window: WindowRecord) -> dict[str, Any]:
        """Return the fields for *window*; its limit is what *record* says now."""
        limit_nano = max(0, record.limit_nano + window.extra_nano)
        amounts = {
            "limit_usd": limit_nano,
            "extra_usd": window.extra_nano,
            "spent_usd": window.spent_nano,
            "reserved_usd": window.reserved_nano,
            "withheld_usd": window.withheld_nano,
            "remaining_usd": limit_nano - window.spent_nano - window.reserved_nano - window.withheld_nano,
        }
        return {
            "starts_at": int(window.starts_at.timestamp()),
            "ends_at": None if window.ends_at is None else int(window.ends_at.timestamp()),
            "opening_usd": None if window.opening_nano is None else usd_text(Nano(window.opening_nano)),
            **{name: usd_text(Nano(nano)) for name, nano in amounts.items()},
        }


class Budget(Shape):
    """What a scope may spend in each window, and how the current one stands."""

    model_config = ConfigDict(json_schema_extra={"example": BUDGET_EXAMPLE})

    id: str
    object: Literal["weir.budget"] = "weir.budget"
    name: str
    scope: Scope
    scope_id: str | None
    model: str | None
    period: Period
    time_zone: str
    limit_usd: str = Field(description="Per window, without top-ups.")
    mode: Mode
    paused_at: int | None = Field(description="Since when it refuses nothing.")
    archived_at: int | None
    created_at: int
    updated_at: int
    window: BudgetWindow

    @classmethod
    def of(cls, standing: Standing) -> "Budget":
        """Return *standing* as it is shown."""
        record = standing.record
        moments = {
            name: None if moment is None else int(moment.timestamp())
            for name in ("paused_at", "archived_at", "created_at", "updated_at")
            for moment in [getattr(record, name)]
        }
        same = {name: getattr(record, name) for name in NewBudget._fields if name != "limit_nano"}
        window = BudgetWindow(**BudgetWindow.values(record, standing.window))
        return cls(id=record.id, limit_usd=usd_text(record.limit_nano), window=window, **same, **moments)
