"""A limit as people manage it. Pure."""

from datetime import datetime
from typing import Final, Literal, NamedTuple

from app.limits.amounts import Counts
from app.limits.limit import Limit, Mode, Per, Scope

IN_SCOPE_MAX: Final = 100
"""Most limits for one organization, project, person, account, key, or for each of them: a call counts in all."""

Sort = Literal["created_at", "name"]


class NewLimit(NamedTuple):
    """What can be chosen when a limit is made; what it counts, for whom and how long, stays as it is then."""

    name: str
    scope: Scope
    scope_id: str | None
    model: str | None
    counts: Counts
    per: Per | None
    maximum: int
    mode: Mode


class LimitRecord(NamedTuple):
    """A limit's row. `version` is counted up by every change."""

    id: str
    name: str
    scope: Scope
    scope_id: str | None
    model: str | None
    counts: Counts
    per: Per | None
    maximum: int
    mode: Mode
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def limit(self) -> Limit:
        """The limit as the hot path knows it."""
        return Limit(
            self.id,
            self.name,
            self.scope,
            self.scope_id,
            self.model,
            self.counts,
            self.per,
            self.maximum,
            self.mode,
        )


class LimitFilter(NamedTuple):
    """Which limits to list; what is None does not matter."""

    scope: Scope | None = None
    scope_id: str | None = None
    model: str | None = None
    counts: Counts | None = None
    mode: Mode | None = None
