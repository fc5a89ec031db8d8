"""Spend alerts in OpenAI's own shape, through its SDK."""

from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from app.projects.service import DEFAULT_PROJECT_ID

CHANNEL = {"type": "email", "recipients": ["ada@example.org", "bob@example.org"], "subject_prefix": "Weir"}
CONTENTS: dict[str, Any] = {
    "threshold_amount": 20_000,
    "currency": "USD",
    "interval": "month",
    "notification_channel": CHANNEL,
}


class Alerts:
    """The same calls for the organization and for the default project."""

    def __init__(self, client: AsyncOpenAI, owner: str) -> None:
        organization: Any = client.admin.organization
        self._of = organization.spend_alerts if owner == "organization" else organization.projects.spend_alerts
        self._in_project = {} if owner == "organization" else {"project_id": DEFAULT_PROJECT_ID}

    async def create(self, **changes: Any) -> Any:
        return await self._of.create(**self._in_project, **{**CONTENTS, **changes})

    async def retrieve(self, alert_id: str) -> Any:
        return await self._of.retrieve(alert_id, **self._in_project)

    async def update(self, alert_id: str, **changes: Any) -> Any:
        return await self._of.update(alert_id, **self._in_project, **{**CONTENTS, **changes})

    async def delete(self, alert_id: str) -> Any:
        return await self._of.delete(alert_id, **self._in_project)

    async def page(self, **query: Any) -> Any:
        return await self._of.list(**self._in_project, **query)

    async def ids(self, **query: Any) -> list[str]:
        return [alert.id async for alert in self._of.list(**self._in_project, **query)]


@pytest.fixture
def alerts(admin: AsyncOpenAI, owner: str) -> Alerts:
    return Alerts(admin, owner)


async def test_an_alert_is_made_shown_replaced_and_deleted(alerts: Alerts, owner: str) -> None:
    made = await alerts.create()
    assert made.to_dict() == {**CONTENTS, "id": made.id, "object": f"{owner}.spend_alert"}
    assert await alerts.retrieve(made.id) == made

    channel = {"type": "email", "recipients": ["eve@example.org"]}
    changed = await alerts.update(made.id, threshold_amount=0, notification_channel=channel)
    assert changed.threshold_amount == 0
    assert changed.notification_channel.to_dict() == {**channel, "subject_prefix": None}
    assert await alerts.retrieve(made.id) == changed

    deleted = await alerts.delete(made.id)
    assert deleted.to_dict() == {"id": made.id, "object": f"{owner}.spend_alert.deleted", "deleted": True}
    for attempt in (alerts.retrieve(made.id), alerts.update(made.id), alerts.delete(made.id)):
        with pytest.raises(NotFoundError) as refused:
            await attempt
        assert refused.value.param == "alert_id"


async def test_alerts_are_paged_in_both_directions(alerts: Alerts) -> None:
    ids = [(await alerts.create(threshold_amount=number)).id for number in range(5)]

    assert await alerts.ids() == await alerts.ids(limit=2) == ids
    assert await alerts.ids(order="desc", limit=2) == ids[::-1]
    page = await alerts.page(limit=2)
    assert (page.first_id, page.last_id, page.has_more) == (ids[0], ids[1], True)
    before = await alerts.page(limit=2, before=ids[4])
    assert ([alert.id for alert in before.data], before.has_more) == (ids[2:4], True)
    first = await alerts.page(limit=2, before=ids[2])
    assert ([alert.id for alert in first.data], first.has_more) == (ids[:2], False)
    backwards = await alerts.page(limit=2, before=ids[0], order="desc")
    assert [alert.id for alert in backwards.data] == [ids[2], ids[1]]
    between = await alerts.page(after=ids[0], before=ids[3])
    assert [alert.id for alert in between.data] == ids[1:3]
    none = await alerts.page(limit=0)
    assert (none.data, none.first_id, none.last_id) == ([], None, None)
    with pytest.raises(NotFoundError):
        await alerts.page(after="alert_nowhere")


async def test_an_owner_sees_its_own_alerts_only(admin: AsyncOpenAI) -> None:
    of_all, of_project = Alerts(admin, "organization"), Alerts(admin, "project")
    one, other = await of_all.create(), await of_project.create()
    assert (await of_all.ids(), await of_project.ids()) == ([one.id], [other.id])
    for attempt in (of_all.retrieve(other.id), of_project.delete(one.id)):
        with pytest.raises(NotFoundError):
            await attempt


async def test_the_project_of_an_alert_must_exist(admin: AsyncOpenAI) -> None:
    spend_alerts = admin.admin.organization.projects.spend_alerts
    with pytest.raises(NotFoundError) as refused:
        await spend_alerts.create("proj_nowhere", **CONTENTS)
    assert refused.value.param == "project_id"


async def test_there_are_not_too_many_alerts(alerts: Alerts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.budgets.spend_alert_service.ALERTS_MAX", 1)
    await alerts.create()
    with pytest.raises(BadRequestError, match="delete one first"):
        await alerts.create()


NO_ALERTS: list[tuple[dict[str, Any], str | None]] = [
    ({"threshold_amount": -1}, "threshold_amount"),
    ({"threshold_amount": 0.5}, "threshold_amount"),
    ({"currency": "EUR"}, "currency"),
    ({"interval": "year"}, "interval"),
    ({"notification_channel": {**CHANNEL, "type": "sms"}}, "notification_channel.type"),
    ({"notification_channel": {**CHANNEL, "recipients": []}}, "notification_channel.recipients"),
    ({"notification_channel": {**CHANNEL, "recipients": ["nobody"]}}, "notification_channel.recipients[0]"),
    ({"notification_channel": {**CHANNEL, "recipients": ["a@b.org\nbcc:x@y.org"]}}, None),
    ({"notification_channel": {**CHANNEL, "subject_prefix": "a\r\nbcc: x"}}, "notification_channel.subject_prefix"),
]


async def test_an_alert_that_is_not_allowed_is_refused(alerts: Alerts) -> None:
    for change, param in NO_ALERTS:
        with pytest.raises(BadRequestError) as refused:
            await alerts.create(**change)
        assert refused.value.param == (param or "notification_channel.recipients[0]"), change
    assert await alerts.ids() == []
