"""Which receipts to list, and where a page of them ends. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from app.core.money import Nano
from app.errors import InvalidRequest
from app.ledger.entries import Ending, Entry, Outcome


class ReceiptQuery(NamedTuple):
    """What receipts must be like, None for anything; and which of them are on the page."""

    project_ids: Sequence[str] | None = None
    key_id: str | None = None
    user_id: str | None = None
    model: str | None = None
    """Asked for, or the one that answered."""
    outcome: Outcome | None = None
    ending: Ending | None = None
    created_after: datetime | None = None
    """Inclusive."""
    created_before: datetime | None = None
    """Exclusive."""
    cost_nano_min: Nano | None = None
    after: str | None = None
    """The last attempt, or request, of the page before."""
    limit: int = 20
    newest_first: bool = True


class ReceiptPage(NamedTuple):
    """Entries, each at what all entries of its attempt add up to; and whether there are more."""

    entries: list[Entry]
    has_more: bool


class Attempts(NamedTuple):
    """The newest attempts of one call, and what is known of all of them."""

    entries: list[Entry]
    """One for each attempt, at what all entries of it add up to; the last attempt first."""
    has_more: bool
    cost_nano: Nano
    """Of all attempts, those that are not in `entries` included."""


ID_SLACK: Final = timedelta(hours=2)
"""How far an id may be from the moment that is on the entry: another attempt has a later one, and a response on a
socket one from when it was reserved."""


def first_id(created_at: datetime) -> UUID:
    """Return the smallest id of an attempt that began at *created_at*: its id begins with that, in milliseconds."""
    return UUID(int=max(0, int(created_at.timestamp() * 1_000)) << 80)


def attempt_of(after: str) -> UUID | None:
    """Return the attempt that *after* names, None when it names a request."""
    try:
        return UUID(after)
    except ValueError:
        return None


def only_attempt(ids: Sequence[UUID]) -> UUID:
    """Return the one attempt of a request; raises InvalidRequest when there is none, or no telling which."""
    if len(ids) == 1:
        return ids[0]
    found = "several attempts have this request id; use the last_id of the page" if ids else "there is no such attempt"
    raise InvalidRequest(f"Invalid value for 'after': {found}.", param="after")


def folded(entries: Sequence[Entry]) -> Entry:
    """Return the one entry that *entries* of the same attempt amount to: the correction if there is one, at the sum."""
    shown = next((entry for entry in entries if "correction" in entry.flags), entries[0])
    return shown._replace(cost_nano=Nano(sum(entry.cost_nano for entry in entries)))
