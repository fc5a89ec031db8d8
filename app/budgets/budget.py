"""A budget, and which budgets a call counts in. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple

from app.budgets.periods import Period, Span, span
from app.core.money import Nano
from app.money_errors import TimeZoneUnknown

Scope = Literal["organization", "project", "user", "api_key"]
ScopeKey = tuple[Scope, str | None]
"""A scope and which of them: one project, user or API key; None for the organization."""
Mode = Literal["enforcing", "observing"]
"""`enforcing` refuses what does not fit; `observing` only counts."""

LIMIT_NANO_MAX: Final = Nano(10**18)
"""A billion dollars: sums of such amounts still fit PostgreSQL's `bigint`."""
_REMEMBERED_MAX: Final = 10_000
_SCOPES_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Budget:
    """What a scope may spend in each window of its period."""

    id: str
    name: str
    scope: Scope
    scope_id: str | None
    """None for the whole organization."""
    model: str | None
    """A pattern such as `gpt-4o*` for the model that is asked for; None for every model."""
    period: Period
    time_zone: str
    limit_nano: Nano
    mode: Mode
    is_paused: bool
    created_at: datetime
    refuses: bool = field(init=False)
    """Whether a call that does not fit is refused; a paused budget goes on counting, as an observing one does."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "refuses", self.mode == "enforcing" and not self.is_paused)

    def window_at(self, moment: datetime) -> Span:
        """Return the window that a call reserved at *moment* counts in; raises TimeZoneUnknown."""
        try:
            return span(self.period, self.time_zone, moment, since=self.created_at)
        except ValueError:
            raise TimeZoneUnknown(self.name, self.time_zone) from None


class Payer(NamedTuple):
    """Whom and what a call is for."""

    project_id: str
    user_id: str | None
    key_id: str
    model: str


class BudgetBook:
    """The budgets in force of those scopes that somebody asked for; `version` is that of the table they were read from.

    A process reads what its callers need, and not a hundred thousand others' whenever one of them changes.
    """

    __slots__ = ("_by_scope", "_found", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self._by_scope: dict[ScopeKey, list[Budget]] = {}
        self._found: dict[Payer, tuple[Budget, ...]] = {}

    @property
    def is_full(self) -> bool:
        """Whether it has so many scopes that the next ones are better learned in a new book."""
        return len(self._by_scope) >= _SCOPES_MAX

    def unknown(self, payers: Iterable[Payer]) -> set[ScopeKey]:
        """Return the scopes whose budgets have to be learned before those of *payers* can be found."""
        new = [payer for payer in set(payers) if payer not in self._found]
        return {scope for payer in new for scope in _scopes_of(payer) if scope not in self._by_scope}

    def learn(self, scopes: Iterable[ScopeKey], budgets: Iterable[Budget]) -> None:
        """Take *budgets* for all that *scopes* have."""
        self._by_scope.update((scope, []) for scope in scopes)
        for budget in budgets:
            self._by_scope[budget.scope, budget.scope_id].append(budget)

    def find(self, payer: Payer) -> tuple[Budget, ...]:
        """Return the budgets that a call of *payer* counts in, whose scopes are known."""
        found = self._found.get(payer)
        if found is None:
            if len(self._found) >= _REMEMBERED_MAX:
                self._found.clear()
            found = self._found[payer] = tuple(self._matching(payer))
        return found

    def _matching(self, payer: Payer) -> Iterable[Budget]:
        for scope in _scopes_of(payer):
            for budget in self._by_scope[scope]:
                if budget.model is None or fnmatchcase(payer.model, budget.model):
                    yield budget


def _scopes_of(payer: Payer) -> list[ScopeKey]:
    scopes: list[ScopeKey] = [("organization", None), ("project", payer.project_id), ("api_key", payer.key_id)]
    if payer.user_id is not None:
        scopes.append(("user", payer.user_id))
    return scopes
