"""A spend alert: whom to tell, and from which amount in a month on. Pure."""

from datetime import datetime
from typing import Final, NamedTuple

from app.core.pagination import Order

ALERTS_MAX: Final = 100
"""Most alerts of one project, or of the organization."""


class AlertContents(NamedTuple):
    """What can be chosen, and replaced."""

    threshold_cents: int
    recipients: list[str]
    subject_prefix: str | None


class SpendAlertRecord(NamedTuple):
    """An alert's row; `project_id` is None for the organization's."""

    id: str
    project_id: str | None
    threshold_cents: int
    recipients: list[str]
    subject_prefix: str | None
    created_at: datetime


class AlertPaging(NamedTuple):
    """Up to `limit` alerts behind the one with the id `after`, or else next in front of the one with id `before`."""

    after: str | None
    before: str | None
    limit: int
    order: Order

    @property
    def is_backwards(self) -> bool:
        """Whether the page ends at a place, instead of beginning at one."""
        return self.before is not None and self.after is None
