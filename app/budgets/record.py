"""A budget as people manage it, its windows, and its history. Pure."""

from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, NamedTuple

from app.budgets.budget import Budget, Mode, Scope
from app.budgets.periods import Period, Span
from app.core.money import Nano, usd_text

ChangeKind = Literal["created", "updated", "paused", "resumed", "topped_up", "archived"]

SPEND_LIMIT: Final = "spend_limit"
"""The name of the budget that the spend limit of the organization, or of a project, is a view of."""
NANO_PER_CENT: Final = 10_000_000
IN_FORCE_MAX: Final = 100
"""Most budgets in force for one organization, project, person or key: a call locks a row for each."""


class NewBudget(NamedTuple):
    """What can be chosen when a budget is made; scope, model, period and time zone stay as they are then."""

    name: str
    scope: Scope
    scope_id: str | None
    model: str | None
    period: Period
    time_zone: str
    limit_nano: Nano
    mode: Mode

    def made(self, budget_id: str, now: datetime) -> "BudgetRecord":
        """Return the row of this budget when it is made."""
        return BudgetRecord(
            budget_id, *self, version=1, created_at=now, updated_at=now, paused_at=None, archived_at=None
        )


class BudgetRecord(NamedTuple):
    """A budget's row. `version` is counted up by every change."""

    id: str
    name: str
    scope: Scope
    scope_id: str | None
    model: str | None
    period: Period
    time_zone: str
    limit_nano: Nano
    mode: Mode
    version: int
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None
    archived_at: datetime | None

    @property
    def budget(self) -> Budget:
        """The budget as the hot path knows it."""
        return Budget(
            id=self.id,
            name=self.name,
            scope=self.scope,
            scope_id=self.scope_id,
            model=self.model,
            period=self.period,
            time_zone=self.time_zone,
            limit_nano=self.limit_nano,
            mode=self.mode,
            is_paused=self.paused_at is not None,
            created_at=self.created_at,
        )

    @property
    def is_enforcing(self) -> bool:
        """Whether a call that does not fit is refused now."""
        return self.archived_at is None and self.budget.refuses

    def window_at(self, moment: datetime) -> Span:
        """Return the window that a call reserved at *moment* counts in."""
        return self.budget.window_at(moment)

    def covers(self, model: str) -> bool:
        """Tell whether calls that ask for *model* count in it."""
        return self.model is None or fnmatchcase(model, self.model)


class WindowRecord(NamedTuple):
    """What happened in one window; `id` is None for one in which nothing has happened yet."""

    id: int | None
    budget_id: str
    starts_at: datetime
    ends_at: datetime | None
    opening_nano: int | None
    """Part of `spent_nano`: spent in this window before the budget was made; None while that is being counted."""
    extra_nano: int
    spent_nano: int
    reserved_nano: int
    withheld_nano: int

    @classmethod
    def empty(cls, budget_id: str, span: Span) -> "WindowRecord":
        """Return a window in which nothing has happened yet."""
        return cls(None, budget_id, span.starts_at, span.ends_at, 0, 0, 0, 0, 0)


class Standing(NamedTuple):
    """A budget and how it stands now."""

    record: BudgetRecord
    window: WindowRecord


class ChangeRecord(NamedTuple):
    """Who changed a budget, when, from what to what; amounts are decimal dollars, moments are Unix seconds."""

    id: int
    budget_id: str
    changed_at: datetime
    changed_by: str
    kind: ChangeKind
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class BudgetFilter(NamedTuple):
    """Which budgets to list; what is None does not matter."""

    scope: Scope | None = None
    scope_id: str | None = None
    model: str | None = None
    mode: Mode | None = None
    is_archived: bool = False
    scopes: tuple[tuple[Scope, str | None], ...] | None = None
    """Only those of these (scope, scope id)."""


class Editor(NamedTuple):
    """Who wants to change a budget, and which of its versions (RFC 9110, section 13.1.1, If-Match) they know."""

    key_id: str
    if_match: str | None = None


def shown(name: str, value: Any) -> tuple[str, Any]:
    """Return a column as people read it in the history: `limit_nano` as `limit_usd`, moments as Unix seconds."""
    if name.endswith("_nano"):
        return f"{name.removesuffix('_nano')}_usd", usd_text(value)
    return name, int(value.timestamp()) if isinstance(value, datetime) else value
