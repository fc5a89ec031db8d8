"""Limits as administrators make, find, change and delete them."""

from typing import Any

import httpx
import pytest

from app.limits.record import IN_SCOPE_MAX
from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.signed_in import sign_in
from tests.fixtures.weir import RunningWeir
from tests.limits.making import BODY, make

LIMITS = "/v1/gateway/limits"


async def call(weir: RunningWeir, method: str, path: str = "", **options: Any) -> httpx.Response:
    async with weir.http(weir.admin_key) as client:
        return await client.request(method, f"{LIMITS}{path}", **options)


async def audited(weir: RunningWeir) -> list[tuple[Any, ...]]:
    rows = await weir.sql(
        "SELECT event, resource_id, project_id, details FROM audit_entries WHERE event LIKE 'limit.%' ORDER BY position"
    )
    return [tuple(row) for row in rows]


async def test_a_limit_is_made_and_read(weir: RunningWeir) -> None:
    made = await make(weir, scope="project", scope_id=DEFAULT_PROJECT_ID, model="gpt-4o*", counts="tokens", per="hour")

    answer = await call(weir, "GET", f"/{made['id']}")

    assert answer.json() == made
    assert answer.headers["etag"] == '"1"'
    assert {name: made[name] for name in ("object", "scope_id", "model", "counts", "per", "maximum", "mode")} == {
        "object": "weir.limit",
        "scope_id": DEFAULT_PROJECT_ID,
        "model": "gpt-4o*",
        "counts": "tokens",
        "per": "hour",
        "maximum": 3,
        "mode": "enforcing",
    }
    [(event, limit_id, project_id, details)] = await audited(weir)
    assert (event, limit_id, project_id) == ("limit.created", made["id"], DEFAULT_PROJECT_ID)
    assert '"maximum": 3' in details


async def test_a_star_for_the_model_is_every_model(weir: RunningWeir) -> None:
    assert (await make(weir, model="*"))["model"] is None


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"counts": "concurrent"}, "per"),
        ({"per": None}, "per"),
        ({"scope_id": "org"}, "scope_id"),
        ({"scope": "address", "counts": "tokens"}, "counts"),
        ({"scope": "address", "model": "gpt-4o"}, "counts"),
        ({"scope": "address", "scope_id": "2001:db8::1"}, "scope_id"),
        ({"scope": "project", "scope_id": "proj_unknown"}, "scope_id"),
        ({"scope": "api_key", "scope_id": "key_unknown"}, "scope_id"),
        ({"scope": "user", "scope_id": "user_unknown"}, "scope_id"),
        ({"scope": "service_account", "scope_id": "svc_unknown"}, "scope_id"),
        ({"scope": "galaxy"}, "scope"),
        ({"maximum": -1}, "maximum"),
        ({"maximum": 10**12 + 1}, "maximum"),
        ({"maximum": 1.5}, "maximum"),
        ({"maximum": "3"}, "maximum"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"version": 7}, "version"),
        ({"id": "lim_mine"}, "id"),
    ],
)
async def test_what_cannot_be_a_limit_is_refused_by_its_name(
    weir: RunningWeir, changes: dict[str, Any], param: str
) -> None:
    new = {"name": "test", "scope": "organization", "counts": "requests", "per": "minute", "maximum": 3, **changes}
    answer = await call(weir, "POST", json=new)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == param
    assert await audited(weir) == []


async def test_a_change_is_in_force_at_once_and_audited(weir: RunningWeir) -> None:
    made = await make(weir, maximum=0)

    answer = await call(weir, "PATCH", f"/{made['id']}", json={"maximum": 5, "name": "wider", "mode": "enforcing"})

    assert (answer.json()["maximum"], answer.json()["name"], answer.headers["etag"]) == (5, "wider", '"2"')
    async with weir.http() as client:
        assert (await client.post("/v1/chat/completions", json=BODY)).status_code == 200
    event, limit_id, _, details = (await audited(weir))[-1]
    assert (event, limit_id) == ("limit.updated", made["id"])
    assert '"maximum": 5' in details
    assert "mode" not in details  # which is as it was


async def test_a_change_of_nothing_changes_nothing(weir: RunningWeir) -> None:
    made = await make(weir)
    answer = await call(weir, "PATCH", f"/{made['id']}", json={"maximum": 3})
    assert (answer.json(), answer.headers["etag"]) == (made, '"1"')
    assert len(await audited(weir)) == 1


@pytest.mark.parametrize(
    ("change", "param"), [({"scope": "user"}, "scope"), ({"per": "day"}, "per"), ({"maximum": None}, "maximum")]
)
async def test_what_a_limit_counts_cannot_be_changed(weir: RunningWeir, change: dict[str, Any], param: str) -> None:
    made = await make(weir)
    answer = await call(weir, "PATCH", f"/{made['id']}", json=change)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert (await call(weir, "PATCH", f"/{made['id']}", json=[])).status_code == 400


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_of_two_who_change_at_once_the_second_is_told(weir: RunningWeir, method: str) -> None:
    path = f"/{(await make(weir))['id']}"
    body = {"json": {"maximum": 9}} if method == "PATCH" else {}
    await call(weir, "PATCH", path, json={"maximum": 8}, headers={"if-match": '"1"'})

    late = await call(weir, method, path, headers={"if-match": '"1"'}, **body)
    assert (late.status_code, late.json()["error"]["code"]) == (412, "precondition_failed")

    again = await call(weir, method, path, headers={"if-match": '"7", "2"'}, **body)
    assert again.status_code == 200


async def test_a_deleted_limit_is_gone_for_everybody(weir: RunningWeir) -> None:
    made = await make(weir, maximum=0)

    answer = await call(weir, "DELETE", f"/{made['id']}")

    assert answer.json() == {"id": made["id"], "object": "weir.limit.deleted", "deleted": True}
    for method in ("GET", "PATCH", "DELETE"):
        gone = await call(weir, method, f"/{made['id']}", **({"json": {"maximum": 1}} if method == "PATCH" else {}))
        assert (gone.status_code, gone.json()["error"]["param"]) == (404, "limit_id")
    async with weir.http() as client:
        assert (await client.post("/v1/chat/completions", json=BODY)).status_code == 200
    assert (await audited(weir))[-1][:2] == ("limit.deleted", made["id"])


async def test_limits_are_listed_page_by_page_in_either_order(weir: RunningWeir) -> None:
    made = [(await make(weir, name=name))["id"] for name in ("b", "c", "a")]

    first = (await call(weir, "GET", params={"limit": 2})).json()
    second = (await call(weir, "GET", params={"limit": 2, "after": first["last_id"]})).json()
    by_name = (await call(weir, "GET", params={"sort": "name", "order": "desc"})).json()
    behind_b = (await call(weir, "GET", params={"sort": "name", "order": "desc", "after": made[0]})).json()

    assert [limit["id"] for limit in first["data"] + second["data"]] == made
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert (first["first_id"], second["last_id"]) == (made[0], made[2])
    assert [limit["name"] for limit in by_name["data"]] == ["c", "b", "a"]
    assert [limit["name"] for limit in behind_b["data"]] == ["a"]


async def test_limits_are_found_by_what_they_are_for(weir: RunningWeir) -> None:
    await make(weir, name="one")
    user = await sign_in(weir, "Ada")
    await make(weir, name="two", scope="user", scope_id=user.id, counts="tokens", model="gpt-4o", mode="shadow")

    for wanted in (
        {"scope": "user"},
        {"scope_id": user.id},
        {"counts": "tokens"},
        {"model": "gpt-4o"},
        {"mode": "shadow"},
    ):
        found = (await call(weir, "GET", params=wanted)).json()
        assert [limit["name"] for limit in found["data"]] == ["two"], wanted
    none = (await call(weir, "GET", params={"scope": "project"})).json()
    assert (none["data"], none["first_id"], none["has_more"]) == ([], None, False)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"after": "lim_no"}, "after"),
        ({"scop": "user"}, "scop"),
    ],
)
async def test_a_list_that_cannot_be_is_refused(weir: RunningWeir, query: dict[str, str], param: str) -> None:
    answer = await call(weir, "GET", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_one_scope_has_only_so_many_limits(weir: RunningWeir) -> None:
    ada, bob = await sign_in(weir, "Ada"), await sign_in(weir, "Bob")
    await weir.sql(
        "INSERT INTO limits (id, name, scope, scope_id, counts, per, maximum, mode, version) "
        "SELECT 'lim_' || n, 'n', 'user', $1, 'requests', 'minute', 1, 'enforcing', 1 "
        f"FROM generate_series(1, {IN_SCOPE_MAX}) n",
        ada.id,
    )
    new = {"name": "n", "scope": "user", "scope_id": ada.id, "counts": "requests", "per": "minute", "maximum": 3}
    answer = await call(weir, "POST", json=new)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "scope")
    await make(weir, scope="user", scope_id=bob.id)


async def test_people_and_service_accounts_have_limits_of_their_own_while_they_are_there(weir: RunningWeir) -> None:
    ada = await sign_in(weir, "Ada")
    accounts = f"/v1/organization/projects/{DEFAULT_PROJECT_ID}/service_accounts"
    async with weir.http(weir.admin_key) as client:
        account = (await client.post(accounts, json={"name": "a program"})).json()["id"]
        for scope, scope_id in (("user", ada.id), ("service_account", account)):
            assert (await make(weir, scope=scope, scope_id=scope_id))["scope_id"] == scope_id
        assert (await client.delete(f"{accounts}/{account}")).status_code == 200
        assert (await client.delete(f"/v1/organization/users/{ada.id}")).status_code == 200
    new = {"name": "late", "counts": "requests", "per": "minute", "maximum": 3}
    for scope, scope_id in (("user", ada.id), ("service_account", account)):
        late = await call(weir, "POST", json={**new, "scope": scope, "scope_id": scope_id})
        assert (late.status_code, late.json()["error"]["param"]) == (404, "scope_id")
