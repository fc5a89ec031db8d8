"""Spend alerts on the wire, in OpenAI's shape; amounts are whole cents.

https://platform.openai.com/docs/api-reference/administration
"""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from app.budgets.spend_alert import AlertContents, AlertPaging, SpendAlertRecord
from app.budgets.spend_limit_schemas import CENTS_MAX
from app.core.pagination import Order, Page
from app.core.shape import Shape
from app.core.wire import Listed, list_example, page_of

_RECIPIENTS_MAX: Final = 100
_BODY_EXAMPLE: Final[JsonDict] = {
    "threshold_amount": 20000,
    "currency": "USD",
    "interval": "month",
    "notification_channel": {"type": "email", "recipients": ["finance@example.com"], "subject_prefix": "Weir"},
}
_EXAMPLE: Final[JsonDict] = {"id": "alert_3c1d", "object": "organization.spend_alert", **_BODY_EXAMPLE}

AlertObject = Literal["organization.spend_alert", "project.spend_alert"]
AlertId = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]
Email = Annotated[str, StringConstraints(max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]


class NotificationChannel(Shape):
    """Whom to write to."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["email"]
    recipients: Annotated[list[Email], Field(min_length=1, max_length=_RECIPIENTS_MAX)]
    subject_prefix: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f]*$")] | None = None


class SpendAlertBody(Shape):
    """An alert for each calendar month in UTC."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _BODY_EXAMPLE})

    threshold_amount: int = Field(strict=True, ge=0, le=CENTS_MAX, description="In cents.")
    currency: Literal["USD"]
    interval: Literal["month"]
    notification_channel: NotificationChannel

    def contents(self) -> AlertContents:
        """Return it for the service."""
        channel = self.notification_channel
        return AlertContents(self.threshold_amount, channel.recipients, channel.subject_prefix)


class SpendAlert(SpendAlertBody):
    """An alert as it is kept."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: str
    object: AlertObject

    @classmethod
    def of(cls, record: SpendAlertRecord) -> "SpendAlert":
        """Return *record* as it is shown."""
        return cls(
            id=record.id,
            object="organization.spend_alert" if record.project_id is None else "project.spend_alert",
            threshold_amount=record.threshold_cents,
            currency="USD",
            interval="month",
            notification_channel=NotificationChannel(
                type="email", recipients=record.recipients, subject_prefix=record.subject_prefix
            ),
        )


class SpendAlertsQuery(Shape):
    """Which page of alerts to show."""

    model_config = ConfigDict(extra="forbid")

    after: AlertId | None = Field(None, description="The `last_id` of the page before.")
    before: AlertId | None = Field(None, description="The `first_id` of the page after.")
    limit: int = Field(20, ge=0, le=100)
    order: Order = "asc"

    def paging(self) -> AlertPaging:
        """Return which page is wanted."""
        return AlertPaging(self.after, self.before, self.limit, self.order)


class SpendAlertList(Listed[SpendAlert]):
    """A page of alerts."""

    model_config = list_example(_EXAMPLE)

    @classmethod
    def of(cls, page: Page[SpendAlertRecord]) -> "SpendAlertList":
        """Return *page* as it is shown."""
        return cls(**page_of([SpendAlert.of(record) for record in page.items], has_more=page.has_more))
