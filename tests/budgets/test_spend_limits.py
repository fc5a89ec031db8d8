"""Spend limits in OpenAI's own shape, through its SDK, as views of budgets."""

from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, NotFoundError, PermissionDeniedError, RateLimitError

from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.signed_in import sign_in
from tests.fixtures.weir import RunningWeir

LIMIT: dict[str, Any] = {"currency": "USD", "interval": "month"}
HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}


class Limits:
    """The same calls for the organization and for the default project."""

    def __init__(self, client: AsyncOpenAI, owner: str) -> None:
        organization: Any = client.admin.organization
        self._of = organization.spend_limit if owner == "organization" else organization.projects.spend_limit
        self._where = [] if owner == "organization" else [DEFAULT_PROJECT_ID]

    async def retrieve(self) -> Any:
        return await self._of.retrieve(*self._where)

    async def update(self, cents: int) -> Any:
        return await self._of.update(*self._where, threshold_amount=cents, **LIMIT)

    async def delete(self) -> Any:
        return await self._of.delete(*self._where)


@pytest.fixture
def limits(admin: AsyncOpenAI, owner: str) -> Limits:
    return Limits(admin, owner)


async def budgets(weir: RunningWeir, **query: Any) -> list[dict[str, Any]]:
    async with weir.http(weir.admin_key) as client:
        data: list[dict[str, Any]] = (await client.get("/v1/gateway/budgets", params=query)).json()["data"]
        return data


async def test_a_limit_is_set_shown_replaced_and_deleted(weir: RunningWeir, limits: Limits, owner: str) -> None:
    with pytest.raises(NotFoundError):
        await limits.retrieve()
    with pytest.raises(NotFoundError):
        await limits.delete()

    made = await limits.update(12_345)
    assert made.to_dict() == {
        "object": f"{owner}.spend_limit",
        "threshold_amount": 12_345,
        "currency": "USD",
        "interval": "month",
        "enforcement": {"status": "enforcing"},
    }
    assert await limits.retrieve() == made
    assert (await limits.update(500)).threshold_amount == 500
    [budget] = await budgets(weir)
    assert (budget["name"], budget["scope"], budget["limit_usd"], budget["period"], budget["time_zone"]) == (
        "spend_limit",
        owner,
        "5",
        "month",
        "UTC",
    )

    assert (await limits.delete()).to_dict() == {"object": f"{owner}.spend_limit.deleted", "deleted": True}
    with pytest.raises(NotFoundError):
        await limits.retrieve()
    assert await budgets(weir) == []
    assert [archived["id"] for archived in await budgets(weir, archived=True)] == [budget["id"]]
    await limits.update(700)
    assert [made["limit_usd"] for made in await budgets(weir)] == ["7"]


async def test_a_limit_refuses_calls_and_counts_what_was_spent_before(weir: RunningWeir, limits: Limits) -> None:
    async def call() -> None:
        async with weir.openai() as client:
            await client.chat.completions.create(**HELLO)  # type: ignore[call-overload]

    for _ in range(3):
        await call()
    spent = sum(entry["cost_nano"] for entry in await weir.entries())
    assert spent > 0

    await limits.update(1)
    [budget] = await budgets(weir)
    opening, dot, fraction = budget["window"]["opening_usd"].partition(".")
    assert int(opening + (dot and fraction.ljust(9, "0"))) == spent
    await weir.sql("UPDATE budget_windows SET spent_nano = 10000000")
    with pytest.raises(RateLimitError) as refused:
        await call()
    assert refused.value.code == "insufficient_quota"
    await limits.delete()
    await call()


async def test_the_status_tells_whether_it_really_refuses(weir: RunningWeir, limits: Limits) -> None:
    await limits.update(100)
    [budget] = await budgets(weir)
    path = f"/v1/gateway/budgets/{budget['id']}"
    async with weir.http(weir.admin_key) as client:
        await client.post(f"{path}/pause")
        assert (await limits.retrieve()).enforcement.status == "inactive"
        assert (await limits.update(200)).enforcement.status == "enforcing"
        await client.patch(path, json={"mode": "observing", "limit_usd": "2.019"})
        inexact = await limits.retrieve()
    assert (inexact.enforcement.status, inexact.threshold_amount) == ("inactive", 201)


async def test_the_budget_behind_a_limit_keeps_its_name(weir: RunningWeir, limits: Limits) -> None:
    made = await limits.update(100)
    [budget] = await budgets(weir)
    async with weir.http(weir.admin_key) as client:
        refused = await client.patch(f"/v1/gateway/budgets/{budget['id']}", json={"name": "Other", "limit_usd": "9"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "name")
    assert await limits.retrieve() == made


async def test_the_project_of_a_limit_must_exist(admin: AsyncOpenAI) -> None:
    spend_limit = admin.admin.organization.projects.spend_limit
    for attempt in (
        spend_limit.retrieve("proj_nowhere"),
        spend_limit.update("proj_nowhere", threshold_amount=5, currency="USD", interval="month"),
        spend_limit.delete("proj_nowhere"),
    ):
        with pytest.raises(NotFoundError) as refused:
            await attempt
        assert refused.value.param == "project_id"


NO_LIMITS: list[tuple[dict[str, Any], str | None]] = [
    ({"threshold_amount": 0}, "threshold_amount"),
    ({"threshold_amount": -1}, "threshold_amount"),
    ({"threshold_amount": 1.5}, "threshold_amount"),
    ({"threshold_amount": "100"}, "threshold_amount"),
    ({"threshold_amount": True}, "threshold_amount"),
    ({"threshold_amount": 10**11 + 1}, "threshold_amount"),
    ({"currency": "EUR"}, "currency"),
    ({"interval": "day"}, "interval"),
    ({"limit": 5}, "limit"),
]


async def test_a_limit_that_is_not_allowed_is_refused(weir: RunningWeir) -> None:
    async with weir.http(weir.admin_key) as client:
        for path in ("/v1/organization/spend_limit", f"/v1/organization/projects/{DEFAULT_PROJECT_ID}/spend_limit"):
            for change, param in NO_LIMITS:
                refused = await client.post(path, json={"threshold_amount": 100, **LIMIT, **change})
                assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), change
    assert await budgets(weir) == []


async def test_limits_and_alerts_need_an_admin_key(weir: RunningWeir) -> None:
    async with weir.openai(admin_api_key=weir.api_key) as client:
        organization = client.admin.organization
        for attempt in (organization.spend_limit.retrieve(), organization.spend_alerts.retrieve("alert_1")):
            with pytest.raises(APIStatusError) as refused:
                await attempt
            assert refused.value.status_code == 403


async def test_the_people_of_a_project_read_its_limit_and_do_not_set_it(weir: RunningWeir, admin: AsyncOpenAI) -> None:
    set_limit = await admin.admin.organization.projects.spend_limit.update(
        DEFAULT_PROJECT_ID, threshold_amount=100, **LIMIT
    )
    for name in ("owner", "admin", "member", "viewer"):
        person = await sign_in(weir, name, proj_default=name)
        async with weir.openai(admin_api_key=person.token) as client:
            spend_limit = client.admin.organization.projects.spend_limit
            with pytest.raises(PermissionDeniedError):
                await spend_limit.update(DEFAULT_PROJECT_ID, threshold_amount=10**10, **LIMIT)
            with pytest.raises(PermissionDeniedError):
                await spend_limit.delete(DEFAULT_PROJECT_ID)
            assert await spend_limit.retrieve(DEFAULT_PROJECT_ID) == set_limit
