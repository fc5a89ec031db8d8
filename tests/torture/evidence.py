"""What is known once everything has come to rest, from three witnesses: the simulator, the database, the clients."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from tests.torture.truth import Served


class Row(NamedTuple):
    """One row of the ledger."""

    id: UUID
    request_id: str
    upstream_request_id: str | None
    project_id: str
    user_id: str | None
    key_id: str
    model: str
    ending: str
    outcome: str
    status: int
    flags: tuple[str, ...]
    cost_nano: int
    ceiling_nano: int
    window_ids: tuple[int, ...]


class Window(NamedTuple):
    """One window of a budget, with the budget."""

    id: int
    budget_id: str
    name: str
    scope: str
    scope_id: str | None
    model: str | None
    mode: str
    limit_nano: int
    """With what was added for this window."""
    opening_nano: int
    spent_nano: int
    reserved_nano: int


@dataclass
class Seen:
    """One request as the client that sent it saw it end."""

    request_id: str
    kind: str
    key_id: str
    lies: bool = False
    is_scripted_error: bool = False
    """The simulator was asked to answer an error: whatever status comes may be its own."""
    fate: str = "open"
    """answered, left, broke, unreachable, timed_out."""
    status: int | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    usage: tuple[int, int] | None = None
    """Prompt and completion tokens, if the answer told."""
    idempotency_key: str | None = None
    is_replayed: bool = False
    """The answer says that it is an earlier one."""
    digest: str | None = None
    """Of the whole answer, if it came."""
    is_cut_silently: bool = False
    """A stream that came to a proper end without `[DONE]` and without an error event."""

    def take_usage(self, usage: dict[str, Any] | None) -> None:
        """Remember the usage of an answer, if it has one."""
        if usage:
            self.usage = (usage["prompt_tokens"], usage["completion_tokens"])


@dataclass
class Evidence:
    """Everything that an audit looks at."""

    served: list[Served]
    rows: list[Row]
    windows: list[Window]
    seen: list[Seen]
    open_reservations: list[str]
    """Request ids."""
    processes: int
    """Rows in the table of processes."""
    gateways: int
    """Gateways that run."""
    early_sights: list[str] = field(default_factory=list)
    """Windows that were found above their limit while it was going on."""

    @cached_property
    def liars(self) -> frozenset[str]:
        """The requests for which the simulator was told to claim more than there was."""
        return frozenset(seen.request_id for seen in self.seen if seen.lies)
