"""Every change of budgets, spend limits, spend alerts and prices is in the audit log, and no change that failed is."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.core.db import Database
from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.weir import RunningWeir

BUDGETS = "/v1/gateway/budgets"
PRICES = "/v1/gateway/prices"
BUDGET = {"name": "A team's", "scope": "project", "scope_id": DEFAULT_PROJECT_ID, "period": "month", "limit_usd": "10"}
LIMIT = {"threshold_amount": 500, "currency": "USD", "interval": "month"}
ALERT = {**LIMIT, "notification_channel": {"type": "email", "recipients": ["ada@example.org"], "subject_prefix": None}}
PRICE = {"model": "test-audited", "rates": {"input": "1", "output": "2"}}


@pytest.fixture
async def admin(weir: RunningWeir, db: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with weir.http(weir.admin_key) as client:
        yield client
    await weir.sql("DELETE FROM prices WHERE model = 'test-audited'")
    await weir.wiring.price_admin._prices.load()


async def entries(weir: RunningWeir) -> list[dict[str, Any]]:
    """Return the log, the oldest entry first."""
    async with weir.http(weir.admin_key) as client:
        page = await client.get("/v1/organization/audit_logs", params={"limit": 100})
    return list(reversed(page.json()["data"]))


async def told(weir: RunningWeir) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Return (type, project, details without the id) of every entry, the oldest first."""
    return [
        (
            entry["type"],
            entry.get("project", {}).get("id"),
            {name: value for name, value in entry[entry["type"]].items() if name != "id"},
        )
        for entry in await entries(weir)
    ]


async def made(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> str:
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


async def test_an_entry_names_the_key_the_request_and_the_address(weir: RunningWeir, admin: httpx.AsyncClient) -> None:
    headers = {"x-request-id": "trace-me-0001", "user-agent": "a test"}
    response = await admin.post(BUDGETS, json=BUDGET, headers=headers)
    key_id = (await weir.sql("SELECT id FROM api_keys WHERE kind = 'admin'"))[0]["id"]

    (entry,) = await entries(weir)
    assert entry["request_id"] == response.headers["x-request-id"] == "trace-me-0001"
    assert entry["actor"]["api_key"] == {"id": key_id, "ip_address": "127.0.0.1", "user_agent": "a test"}
    assert entry["budget.created"]["id"] == response.json()["id"]


async def test_every_change_of_a_budget_is_told(weir: RunningWeir, admin: httpx.AsyncClient) -> None:
    path = f"{BUDGETS}/{await made(admin, BUDGETS, BUDGET)}"
    (await admin.patch(path, json={"limit_usd": "12.5"})).raise_for_status()
    (await admin.post(f"{path}/top_up", json={"amount_usd": "3"})).raise_for_status()
    (await admin.post(f"{path}/pause")).raise_for_status()
    (await admin.post(f"{path}/resume")).raise_for_status()
    (await admin.delete(path)).raise_for_status()

    found = await told(weir)
    assert {project for _, project, _ in found} == {DEFAULT_PROJECT_ID}
    created, updated, topped_up, paused, resumed, archived = found
    assert (created[0], created[2]["data"]["limit_usd"]) == ("budget.created", "10")
    assert updated[::2] == ("budget.updated", {"name": "A team's", "changes_requested": {"limit_usd": "12.5"}})
    assert (topped_up[0], topped_up[2]["changes_requested"]["extra_usd"]) == ("budget.topped_up", "3")
    assert (paused[0], list(paused[2]["changes_requested"])) == ("budget.paused", ["paused_at"])
    assert resumed[::2] == ("budget.resumed", {"name": "A team's", "changes_requested": {"paused_at": None}})
    assert (archived[0], list(archived[2]["changes_requested"])) == ("budget.archived", ["archived_at"])


async def test_a_budget_that_stays_as_it_is_has_nothing_to_tell(weir: RunningWeir, admin: httpx.AsyncClient) -> None:
    path = f"{BUDGETS}/{await made(admin, BUDGETS, BUDGET)}"
    (await admin.patch(path, json={"limit_usd": "10"})).raise_for_status()
    (await admin.post(f"{path}/resume")).raise_for_status()
    assert [event for event, _, _ in await told(weir)] == ["budget.created"]


@pytest.mark.parametrize(
    ("path", "project_id"),
    [("", None), (f"/projects/{DEFAULT_PROJECT_ID}", DEFAULT_PROJECT_ID)],
    ids=["organization", "project"],
)
async def test_a_spend_limit_is_told_as_the_budget_that_it_is(
    weir: RunningWeir, admin: httpx.AsyncClient, path: str, project_id: str | None
) -> None:
    url = f"/v1/organization{path}/spend_limit"
    (await admin.post(url, json=LIMIT)).raise_for_status()
    (await admin.post(url, json={**LIMIT, "threshold_amount": 700})).raise_for_status()
    (await admin.delete(url)).raise_for_status()

    created, updated, archived = await told(weir)
    assert created[:2] == ("budget.created", project_id)
    assert (created[2]["data"]["name"], created[2]["data"]["limit_usd"]) == ("spend_limit", "5")
    assert updated == ("budget.updated", project_id, {"name": "spend_limit", "changes_requested": {"limit_usd": "7"}})
    assert archived[:2] == ("budget.archived", project_id)


@pytest.mark.parametrize(
    ("path", "project_id"),
    [("", None), (f"/projects/{DEFAULT_PROJECT_ID}", DEFAULT_PROJECT_ID)],
    ids=["organization", "project"],
)
async def test_spend_alerts_are_told(
    weir: RunningWeir, admin: httpx.AsyncClient, path: str, project_id: str | None
) -> None:
    url = f"/v1/organization{path}/spend_alerts"
    alert_id = await made(admin, url, ALERT)
    (await admin.post(f"{url}/{alert_id}", json={**ALERT, "threshold_amount": 900})).raise_for_status()
    (await admin.delete(f"{url}/{alert_id}")).raise_for_status()

    contents = {"threshold_amount": 500, "recipients": ["ada@example.org"], "subject_prefix": None}
    assert await told(weir) == [
        ("spend_alert.created", project_id, {"data": contents}),
        ("spend_alert.updated", project_id, {"changes_requested": {**contents, "threshold_amount": 900}}),
        ("spend_alert.deleted", project_id, {}),
    ]
    assert {entry[entry["type"]]["id"] for entry in await entries(weir)} == {alert_id}


async def test_a_price_is_told_as_it_was_added(weir: RunningWeir, admin: httpx.AsyncClient) -> None:
    price_id = await made(admin, PRICES, PRICE)
    (entry,) = await entries(weir)
    assert entry["price.created"]["id"] == price_id
    assert entry["price.created"]["data"]["model"] == "test-audited"
    assert entry["price.created"]["data"]["rates"] == {"input": "1", "output": "2"}


async def test_a_change_that_fails_is_not_told(weir: RunningWeir, admin: httpx.AsyncClient) -> None:
    budget = f"{BUDGETS}/{await made(admin, BUDGETS, BUDGET)}"
    await made(admin, PRICES, PRICE | {"valid_from": "2030-01-01T00:00:00Z"})
    alerts = "/v1/organization/spend_alerts"
    before = await entries(weir)
    old = {"if-match": '"99"'}

    for method, path, body, headers, status in (
        ("PATCH", budget, {"limit_usd": "11"}, old, 412),
        ("POST", f"{budget}/pause", None, old, 412),
        ("POST", f"{budget}/top_up", {"amount_usd": "1"}, old, 412),
        ("POST", f"{budget}/top_up", {"amount_usd": "-11"}, {}, 400),
        ("DELETE", budget, None, old, 412),
        ("PATCH", budget, {"limit_usd": "-1"}, {}, 400),
        ("PATCH", f"{BUDGETS}/bud_unknown", {"limit_usd": "1"}, {}, 404),
        ("POST", BUDGETS, {**BUDGET, "scope_id": "proj_unknown"}, {}, 404),
        ("DELETE", "/v1/organization/spend_limit", None, {}, 404),
        ("POST", "/v1/organization/projects/proj_unknown/spend_limit", LIMIT, {}, 404),
        ("POST", f"{alerts}/alert_unknown", ALERT, {}, 404),
        ("DELETE", f"{alerts}/alert_unknown", None, {}, 404),
        ("POST", alerts, {**ALERT, "threshold_amount": -1}, {}, 400),
        ("POST", PRICES, PRICE | {"valid_from": "2030-01-01T00:00:00Z"}, {}, 409),
        ("POST", PRICES, PRICE | {"valid_from": "2001-01-01T00:00:00Z"}, {}, 400),
    ):
        response = await admin.request(method, path, json=body, headers=headers)
        assert response.status_code == status, (method, path, response.text)
    async with weir.http(weir.api_key) as nobody:
        assert (await nobody.post(BUDGETS, json=BUDGET)).status_code == 403

    assert await entries(weir) == before


async def test_a_change_whose_entry_cannot_be_written_does_not_happen(
    weir: RunningWeir, admin: httpx.AsyncClient
) -> None:
    await weir.sql("ALTER TABLE audit_entries ADD CONSTRAINT none CHECK (event <> 'spend_alert.created')")
    try:
        refused = await admin.post("/v1/organization/spend_alerts", json=ALERT)
    finally:
        await weir.sql("ALTER TABLE audit_entries DROP CONSTRAINT none")
    assert refused.status_code == 500
    assert (await admin.get("/v1/organization/spend_alerts")).json()["data"] == []
