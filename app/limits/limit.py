"""A limit, whose calls count in it, and the book of all limits in which a call finds its own. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple, get_args

from app.limits.amounts import Counts

Scope = Literal["organization", "project", "user", "service_account", "api_key", "address"]
Per = Literal["second", "minute", "hour", "day"]
Mode = Literal["enforcing", "shadow"]
"""`enforcing` refuses what does not fit; `shadow` only says that it would have."""

SCOPES: Final = get_args(Scope)
WINDOW_MS: Final[dict[Per, int]] = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
BUCKETS: Final = 100
"""A window slides in so many steps: what was admitted counts for one window, and up to one step longer."""
MAXIMUM_MAX: Final = 10**12
KEY_PREFIX: Final = "{weir}:limit:"
"""The part in braces is what Redis Cluster chooses the slot by: one for all, as a call has limits of many scopes."""
_REMEMBERED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of something may be used in any window of a length, or at once."""

    id: str
    name: str
    scope: Scope
    scope_id: str | None
    """None for the whole organization; for every other scope: each one has a counter of its own."""
    model: str | None
    """A pattern such as `gpt-4o*` for the model that is asked for; all that match share a counter. None for every."""
    counts: Counts
    per: Per | None
    """None for what is counted at once: concurrent calls."""
    maximum: int
    mode: Mode = "enforcing"
    window_ms: int = field(init=False)
    """The length of a window; 0 for concurrent calls."""
    step_ms: int = field(init=False)
    """By how much the window slides at a time; 0 for concurrent calls."""

    def __post_init__(self) -> None:
        window_ms = 0 if self.per is None else WINDOW_MS[self.per]
        object.__setattr__(self, "window_ms", window_ms)
        object.__setattr__(self, "step_ms", window_ms // BUCKETS)

    @property
    def quantity(self) -> str:
        """What it limits, in words, such as `requests per minute`."""
        words = "concurrent calls" if self.per is None else f"{self.counts.replace('_', ' ')} per {self.per}"
        return words if self.model is None else f"{words} of {self.model}"


class Payer(NamedTuple):
    """Who calls, and for which model."""

    project_id: str | None
    user_id: str | None
    service_account_id: str | None
    key_id: str | None
    model: str


class Applied(NamedTuple):
    """A limit that a call counts in, and the name of its counter there."""

    limit: Limit
    key: str


_ByScope = dict[tuple[Scope, str | None], list[Limit]]


class LimitBook:
    """Every limit; none is added once calls are asked about.

    A limit for one project (or user, key ...) takes the place of the limit for each that counts the same, and both that
    of a default. Only one that enforces does.
    """

    __slots__ = ("_by_scope", "_defaults", "_found")

    def __init__(self, limits: Iterable[Limit] = (), defaults: Iterable[Limit] = ()) -> None:
        self._by_scope: _ByScope = {}
        self._defaults: _ByScope = {}
        for limit in limits:
            self.add(limit)
        for default in defaults:
            _add(self._defaults, default)
        self._found: dict[Payer, tuple[Applied, ...]] = {}

    def add(self, limit: Limit) -> None:
        """Take another limit, younger than those before."""
        _add(self._by_scope, limit)

    def find(self, payer: Payer) -> tuple[Applied, ...]:
        """Return the limits that a call of *payer* counts in."""
        found = self._found.get(payer)
        if found is None:
            if len(self._found) >= _REMEMBERED_MAX:
                self._found.clear()
            found = self._found[payer] = tuple(each for each in self.of(payer) if _covers(each.limit, payer.model))
        return found

    def of(self, payer: Payer) -> Iterator[Applied]:
        """Yield the limits that calls of *payer* count in, for some model at least."""
        scopes: tuple[tuple[Scope, str | None], ...] = (
            ("project", payer.project_id),
            ("user", payer.user_id),
            ("service_account", payer.service_account_id),
            ("api_key", payer.key_id),
        )
        yield from self.of_scope("organization", None)
        for scope, scope_id in scopes:
            if scope_id is not None:
                yield from self.of_scope(scope, scope_id)

    def of_scope(self, scope: Scope, scope_id: str | None) -> Iterator[Applied]:
        """Yield the limits of one project, user, key, address ..., or of the organization."""
        groups = [self._by_scope.get((scope, scope_id), ())]
        if scope_id is not None:
            groups.append(self._by_scope.get((scope, None), ()))
        groups.append(self._defaults.get((scope, None), ()))
        replaced: set[tuple[str | None, ...]] = set()
        for group in groups:
            for limit in group:
                if _kind(limit) not in replaced:
                    yield Applied(limit, f"{KEY_PREFIX}{limit.id}:{scope_id or ''}")
            replaced |= {_kind(limit) for limit in group if limit.mode == "enforcing"}


def _add(groups: _ByScope, limit: Limit) -> None:
    groups.setdefault((limit.scope, limit.scope_id), []).append(limit)


def _kind(limit: Limit) -> tuple[str | None, ...]:
    return limit.counts, limit.per, limit.model


def _covers(limit: Limit, model: str) -> bool:
    return limit.model is None or fnmatchcase(model, limit.model)
