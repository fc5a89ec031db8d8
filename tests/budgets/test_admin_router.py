"""Managing budgets over HTTP: what is accepted, what is refused and why, and what clients of a spent budget see."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from openai import RateLimitError

from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.weir import RunningWeir

BUDGETS = "/v1/gateway/budgets"
HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}


def body(**changes: Any) -> dict[str, Any]:
    return {"name": "A team's", "scope": "organization", "period": "month", "limit_usd": "10.50", **changes}


async def make(weir: RunningWeir, **changes: Any) -> dict[str, Any]:
    async with weir.http(weir.admin_key) as client:
        response = await client.post(BUDGETS, json=body(**changes))
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made


def error(response: httpx.Response) -> tuple[int, str | None, str]:
    shown = response.json()["error"]
    return response.status_code, shown["param"], shown["message"]


def version(response: httpx.Response) -> int:
    """The version in the entity tag; behind it stands what was spent meanwhile."""
    return int(response.headers["etag"].strip('"').partition("-")[0])


async def test_a_budget_is_shown_with_its_current_window(weir: RunningWeir) -> None:
    async with weir.http(weir.admin_key) as client:
        made = await client.post(BUDGETS, json=body(scope="project", scope_id=DEFAULT_PROJECT_ID, model="gpt-4o*"))
        got = await client.get(f"{BUDGETS}/{made.json()['id']}")

    assert made.headers["etag"] == got.headers["etag"]
    assert version(got) == 1
    assert made.json() == got.json()
    shown = got.json()
    window = shown.pop("window")
    assert shown.pop("id").startswith("bud_")
    assert shown.pop("created_at") == shown.pop("updated_at") > 1_700_000_000
    assert shown == {
        "object": "weir.budget",
        "name": "A team's",
        "scope": "project",
        "scope_id": DEFAULT_PROJECT_ID,
        "model": "gpt-4o*",
        "period": "month",
        "time_zone": "UTC",
        "limit_usd": "10.5",
        "mode": "enforcing",
        "paused_at": None,
        "archived_at": None,
    }
    assert window.pop("starts_at") < window.pop("ends_at")
    assert window == {
        "limit_usd": "10.5",
        "extra_usd": "0",
        "opening_usd": "0",
        "spent_usd": "0",
        "reserved_usd": "0",
        "withheld_usd": "0",
        "remaining_usd": "10.5",
    }


async def test_a_window_begins_at_midnight_in_the_time_zone_of_its_budget(weir: RunningWeir) -> None:
    made = await make(weir, time_zone="Asia/Kathmandu", period="day")
    starts_at = datetime.fromtimestamp(made["window"]["starts_at"], UTC)
    assert (made["time_zone"], starts_at.hour, starts_at.minute) == ("Asia/Kathmandu", 18, 15)
    assert made["window"]["ends_at"] - made["window"]["starts_at"] == 86_400


async def test_a_budget_that_no_call_has_met_in_this_window_is_shown_empty_and_nothing_is_written(
    weir: RunningWeir,
) -> None:
    made = await make(weir)
    await weir.sql("DELETE FROM budget_windows")
    async with weir.http(weir.admin_key) as client:
        got = await client.get(f"{BUDGETS}/{made['id']}")
    assert got.json()["window"] == made["window"]
    assert await weir.sql("SELECT * FROM budget_windows") == []


LIMITS = [
    (10, "10"),
    (0, "0"),
    ("0", "0"),
    ("10.50", "10.5"),
    ("0.000000001", "0.000000001"),
    (1_000_000_000, "1000000000"),
    ("1000000000.000000000", "1000000000"),
    ("-0", "0"),
]


async def test_a_limit_is_whole_dollars_or_exact_decimal_text(weir: RunningWeir) -> None:
    for limit, shown in LIMITS:
        assert (await make(weir, limit_usd=limit))["limit_usd"] == shown


NO_LIMITS = [
    ("10.50", "in quotes"),
    ("1e3", "in quotes"),
    ("NaN", "in quotes"),
    ("Infinity", "in quotes"),
    ("null", "in quotes"),
    ("true", "in quotes"),
    ("[]", "in quotes"),
    ("-1", "must not be negative"),
    ('"-0.5"', "must not be negative"),
    ("1000000001", "at most 1000000000 dollars"),
    ('"1000000000.000000001"', "at most 1000000000 dollars"),
    ("1" * 4_000, "at most 10 digits"),
    ('"99999999999"', "at most 10 digits"),
    ('"0.0000000001"', "9 after it"),
    ('""', "decimal dollars"),
    ('" 5"', "decimal dollars"),
    ('"5 "', "decimal dollars"),
    ('"+5"', "decimal dollars"),
    ('"1e3"', "decimal dollars"),
    ('"NaN"', "decimal dollars"),
    ('"Infinity"', "decimal dollars"),
    ('"1_000"', "decimal dollars"),
    ('"1,5"', "decimal dollars"),
    ('"5."', "decimal dollars"),
    ('".5"', "decimal dollars"),
    ('"\\u0663"', "decimal dollars"),
    ('"5\\u0000"', "decimal dollars"),
]


async def test_a_limit_that_is_not_exact_money_is_refused_with_what_is_allowed(weir: RunningWeir) -> None:
    headers = {"content-type": "application/json"}
    async with weir.http(weir.admin_key) as client:
        for limit, reason in NO_LIMITS:
            content = f'{{"name": "n", "scope": "organization", "period": "day", "limit_usd": {limit}}}'
            refused = await client.post(BUDGETS, content=content, headers=headers)
            assert error(refused)[:2] == (400, "limit_usd"), limit
            assert reason in error(refused)[2], limit
    assert await weir.sql("SELECT * FROM budgets") == []


NO_BUDGETS: list[tuple[dict[str, Any], str, str]] = [
    ({"scope": "team"}, "scope", "'organization', 'project', 'user' or 'api_key'"),
    ({"period": "hour"}, "period", "'day', 'week', 'month' or 'total'"),
    ({"mode": "off"}, "mode", "'enforcing' or 'observing'"),
    ({"time_zone": "Mars/Olympus"}, "time_zone", "'Europe/Berlin'"),
    ({"time_zone": "../etc/passwd"}, "time_zone", "'Europe/Berlin'"),
    ({"time_zone": "localtime"}, "time_zone", "'Europe/Berlin'"),
    ({"time_zone": "posixrules"}, "time_zone", "'Europe/Berlin'"),
    ({"time_zone": "Factory"}, "time_zone", "'Europe/Berlin'"),
    ({"time_zone": "right/Europe/Berlin"}, "time_zone", "'Europe/Berlin'"),
    ({"time_zone": "posix/Europe/Berlin"}, "time_zone", "'Europe/Berlin'"),
    ({"time_zone": ""}, "time_zone", ""),
    ({"time_zone": 5}, "time_zone", ""),
    ({"time_zone": ["UTC"]}, "time_zone", ""),
    ({"name": ["spend_limit"]}, "name", ""),
    ({"name": ""}, "name", ""),
    ({"name": "x" * 101}, "name", ""),
    ({"name": "a\x00b"}, "name", ""),
    ({"name": "spend_limit"}, "name", "/v1/organization"),
    ({"model": ""}, "model", ""),
    ({"scope_id": "proj_default"}, "scope_id", "has none"),
    ({"scope": "project"}, "scope_id", "Missing"),
    ({"scope": "user", "scope_id": "a\x00b"}, "scope_id", ""),
    ({"limit": "5"}, "limit", ""),
]


async def test_a_field_that_is_not_allowed_is_named(weir: RunningWeir) -> None:
    async with weir.http(weir.admin_key) as client:
        for changes, param, reason in NO_BUDGETS:
            refused = await client.post(BUDGETS, json=body(**changes))
            assert error(refused)[:2] == (400, param), changes
            assert reason in error(refused)[2], changes
    assert await weir.sql("SELECT * FROM budgets") == []


async def test_the_project_or_key_of_a_budget_must_exist_and_a_user_need_not(weir: RunningWeir) -> None:
    [api] = await weir.sql("SELECT id FROM api_keys WHERE kind = 'api'")
    [admin] = await weir.sql("SELECT id FROM api_keys WHERE kind = 'admin'")
    async with weir.http(weir.admin_key) as client:
        for scope, scope_id in (("project", "proj_nowhere"), ("api_key", "key_nowhere"), ("api_key", admin["id"])):
            refused = await client.post(BUDGETS, json=body(scope=scope, scope_id=scope_id))
            assert error(refused)[:2] == (404, "scope_id")
    await make(weir, scope="api_key", scope_id=api["id"])
    await make(weir, scope="user", scope_id="user_that_nobody_knows_yet")


async def test_a_spent_budget_names_itself_and_tells_why_until_it_is_topped_up(weir: RunningWeir) -> None:
    made = await make(weir, limit_usd="0.000005")
    async with weir.openai() as client, weir.http(weir.admin_key) as http:
        with pytest.raises(RateLimitError) as refused:
            await client.chat.completions.create(**HELLO)  # type: ignore[call-overload]
        assert refused.value.code == "insufficient_quota"
        named = refused.value.body["budget"]  # type: ignore[index]
        shown = (await http.get(f"{BUDGETS}/{named['id']}")).json()
        assert (named["id"], named["limit_usd"]) == (made["id"], shown["window"]["limit_usd"])
        assert named["spent_usd"] == shown["window"]["spent_usd"] == "0"

        topped = await http.post(f"{BUDGETS}/{made['id']}/top_up", json={"amount_usd": "5"})
        answer = await client.chat.completions.with_raw_response.create(**HELLO)  # type: ignore[call-overload]
        await weir.wiring.ledger.drain()
        after = (await http.get(f"{BUDGETS}/{made['id']}")).json()

    assert topped.json()["window"]["limit_usd"] == "5.000005"
    assert topped.json()["limit_usd"] == "0.000005"
    assert after["window"]["spent_usd"] == answer.headers["x-weir-cost-usd"] != "0"
    assert after["window"]["reserved_usd"] == "0"


async def test_a_budget_is_changed_paused_topped_up_and_archived_and_its_history_says_so(weir: RunningWeir) -> None:
    made = await make(weir)
    path = f"{BUDGETS}/{made['id']}"
    async with weir.http(weir.admin_key) as client:
        steps = [
            await client.patch(path, json={"name": "Research", "limit_usd": 20, "mode": "observing"}),
            await client.patch(path, json={"name": "Research"}),  # as it is already
            await client.patch(path, json={}),
            await client.post(f"{path}/pause"),
            await client.post(f"{path}/pause"),
            await client.post(f"{path}/resume"),
            await client.post(f"{path}/resume"),
            await client.post(f"{path}/top_up", json={"amount_usd": "5.25"}),
            await client.post(f"{path}/top_up", json={"amount_usd": "-0.25"}),
        ]
        deleted = await client.delete(path)
        archived = await client.get(path)
        history = await client.get(f"{path}/history", params={"order": "asc"})
        again = [await client.patch(path, json={"name": "Late"}), await client.delete(path)]

    assert [response.status_code for response in steps] == [200] * len(steps)
    assert [version(response) for response in steps] == [2, 2, 2, 3, 3, 4, 4, 5, 6]
    assert steps[3].json()["paused_at"] == steps[4].json()["paused_at"] > 0
    assert steps[5].json()["paused_at"] is None
    assert steps[-1].json()["window"]["extra_usd"] == "5"
    assert steps[-1].json()["window"]["limit_usd"] == "25"
    assert deleted.json() == {"id": made["id"], "object": "weir.budget.deleted", "deleted": True}
    assert archived.json()["archived_at"] > 0
    assert [error(response)[:2] for response in again] == [(400, "budget_id")] * 2

    [admin] = await weir.sql("SELECT id FROM api_keys WHERE kind = 'admin'")
    changes = history.json()["data"]
    assert {change["changed_by"] for change in changes} == {admin["id"]}
    starts_at = made["window"]["starts_at"]
    paused_at = steps[3].json()["paused_at"]
    assert [(change["kind"], change["before"], change["after"]) for change in changes] == [
        (
            "created",
            None,
            {
                "name": "A team's",
                "scope": "organization",
                "scope_id": None,
                "model": None,
                "period": "month",
                "time_zone": "UTC",
                "limit_usd": "10.5",
                "mode": "enforcing",
            },
        ),
        (
            "updated",
            {"name": "A team's", "limit_usd": "10.5", "mode": "enforcing"},
            {"name": "Research", "limit_usd": "20", "mode": "observing"},
        ),
        ("paused", {"paused_at": None}, {"paused_at": paused_at}),
        ("resumed", {"paused_at": paused_at}, {"paused_at": None}),
        (
            "topped_up",
            {"window_starts_at": starts_at, "extra_usd": "0"},
            {"window_starts_at": starts_at, "extra_usd": "5.25"},
        ),
        (
            "topped_up",
            {"window_starts_at": starts_at, "extra_usd": "5.25"},
            {"window_starts_at": starts_at, "extra_usd": "5"},
        ),
        ("archived", {"archived_at": None}, {"archived_at": archived.json()["archived_at"]}),
    ]


async def test_what_a_budget_is_about_cannot_be_changed(weir: RunningWeir) -> None:
    made = await make(weir)
    async with weir.http(weir.admin_key) as client:
        for field in ("scope", "scope_id", "model", "period", "time_zone"):
            refused = await client.patch(f"{BUDGETS}/{made['id']}", json={field: made[field], "name": "New"})
            assert error(refused)[:2] == (400, field)
            assert "make another budget" in error(refused)[2]
        unchanged = await client.get(f"{BUDGETS}/{made['id']}")
    assert unchanged.json() == made


NO_CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"limit_usd": None}, "limit_usd"),
    ({"limit_usd": 1.5}, "limit_usd"),
    ({"name": None}, "name"),
    ({"name": "spend_limit"}, "name"),
    ({"mode": None}, "mode"),
    ({"limit": 5}, "limit"),
]


async def test_a_change_that_is_not_allowed_changes_nothing(weir: RunningWeir) -> None:
    made = await make(weir)
    async with weir.http(weir.admin_key) as client:
        for change, param in NO_CHANGES:
            refused = await client.patch(f"{BUDGETS}/{made['id']}", json={"mode": "observing", **change})
            assert error(refused)[:2] == (400, param), change
        no_object = await client.patch(f"{BUDGETS}/{made['id']}", json=["name"])
        unchanged = await client.get(f"{BUDGETS}/{made['id']}")
        endless = await client.patch(
            f"{BUDGETS}/{made['id']}",
            content=f'{{"limit_usd": {"1" * 5_000}}}',
            headers={"content-type": "application/json"},
        )
    assert (no_object.status_code, endless.status_code) == (400, 400)
    assert unchanged.json() == made


async def test_a_window_has_no_limit_below_0_when_less_is_left_than_was_taken_away(weir: RunningWeir) -> None:
    made = await make(weir, limit_usd="250")
    async with weir.http(weir.admin_key) as client:
        await client.post(f"{BUDGETS}/{made['id']}/top_up", json={"amount_usd": "-200"})
        lowered = (await client.patch(f"{BUDGETS}/{made['id']}", json={"limit_usd": "100"})).json()
    assert (lowered["limit_usd"], lowered["window"]["extra_usd"]) == ("100", "-200")
    assert (lowered["window"]["limit_usd"], lowered["window"]["remaining_usd"]) == ("0", "0")


async def test_a_top_up_that_is_not_allowed_changes_nothing(weir: RunningWeir) -> None:
    made = await make(weir)
    async with weir.http(weir.admin_key) as client:
        for amount in (1.5, None, "", "-11", "NaN", "1000000000"):
            refused = await client.post(f"{BUDGETS}/{made['id']}/top_up", json={"amount_usd": amount})
            assert error(refused)[:2] == (400, "amount_usd"), amount
        unchanged = await client.get(f"{BUDGETS}/{made['id']}")
    assert unchanged.json() == made


@pytest.mark.parametrize(
    ("method", "action"),
    [("PATCH", ""), ("DELETE", ""), *(("POST", action) for action in ("/pause", "/resume", "/top_up"))],
)
async def test_a_change_for_another_version_is_refused(weir: RunningWeir, method: str, action: str) -> None:
    made = await make(weir)
    path = f"{BUDGETS}/{made['id']}"
    content = {"": {"limit_usd": "3"}, "/top_up": {"amount_usd": "3"}}.get(action)

    async def attempt(if_match: str) -> httpx.Response:
        return await client.request(
            method, path + action, json=None if method == "DELETE" else content, headers={"if-match": if_match}
        )

    async with weir.http(weir.admin_key) as client:
        await client.patch(path, json={"name": "Changed"})
        await client.post(f"{path}/pause") if action == "/resume" else None
        tag = (await client.get(path)).headers["etag"]
        for stale in ('"1"', 'W/"2"', "2", '"99", "1"', ""):
            refused = await attempt(stale)
            assert refused.status_code == 412, stale
            assert refused.json()["error"]["code"] == "precondition_failed"
            assert (await client.get(path)).headers["etag"] == tag
        assert (await attempt(f'"1", {tag}')).status_code == 200


async def test_if_match_star_matches_any_version(weir: RunningWeir) -> None:
    made = await make(weir)
    async with weir.http(weir.admin_key) as client:
        answer = await client.post(f"{BUDGETS}/{made['id']}/pause", headers={"if-match": "*"})
    assert answer.status_code == 200


async def test_an_unknown_budget_is_not_found(weir: RunningWeir) -> None:
    async with weir.http(weir.admin_key) as client:
        answers = [
            await client.get(f"{BUDGETS}/bud_nowhere"),
            await client.patch(f"{BUDGETS}/bud_nowhere", json={}),
            await client.delete(f"{BUDGETS}/bud_nowhere"),
            await client.post(f"{BUDGETS}/bud_nowhere/pause"),
            await client.post(f"{BUDGETS}/bud_nowhere/resume"),
            await client.post(f"{BUDGETS}/bud_nowhere/top_up", json={"amount_usd": 1}),
            await client.get(f"{BUDGETS}/bud_nowhere/history"),
            await client.get(f"{BUDGETS}/bud_nowhere/windows"),
        ]
    assert [error(answer)[:2] for answer in answers] == [(404, "budget_id")] * len(answers)


async def test_budgets_are_listed_filtered_sorted_and_paged(weir: RunningWeir) -> None:
    everything = await make(weir, name="c", mode="observing")
    project = await make(weir, name="a", scope="project", scope_id=DEFAULT_PROJECT_ID, model="gpt-4o*")
    user = await make(weir, name="b", scope="user", scope_id="user_ada")

    async def listed(**query: Any) -> dict[str, Any]:
        async with weir.http(weir.admin_key) as client:
            response = await client.get(BUDGETS, params=query)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def ids(**query: Any) -> list[str]:
        return [budget["id"] for budget in (await listed(**query))["data"]]

    page = await listed(limit=2)
    assert page == {
        "object": "list",
        "data": [everything, project],
        "first_id": everything["id"],
        "last_id": project["id"],
        "has_more": True,
    }
    assert await listed(after=page["last_id"], limit=1) == {
        "object": "list",
        "data": [user],
        "first_id": user["id"],
        "last_id": user["id"],
        "has_more": False,
    }
    assert await ids(order="desc") == [user["id"], project["id"], everything["id"]]
    assert await ids(sort="name") == [project["id"], user["id"], everything["id"]]
    assert await ids(sort="name", order="desc", after=user["id"]) == [project["id"]]
    assert await ids(scope="project") == [project["id"]]
    assert await ids(scope_id="user_ada") == [user["id"]]
    assert await ids(model="gpt-4o*") == [project["id"]]
    assert await ids(mode="observing") == [everything["id"]]
    assert await ids(archived="true") == []
    async with weir.http(weir.admin_key) as client:
        await client.delete(f"{BUDGETS}/{user['id']}")
    assert await ids(archived="true") == [user["id"]]
    assert await listed(scope="user") == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


NO_LISTS = [
    ("limit=0", "limit"),
    ("limit=101", "limit"),
    ("order=up", "order"),
    ("sort=spent", "sort"),
    ("scope=team", "scope"),
    ("after=bud_nowhere", "after"),
    ("after=%00", "after"),
    ("scop=user", "scop"),
    ("archived=maybe", "archived"),
]


async def test_a_list_that_cannot_be_had_says_which_parameter_is_wrong(weir: RunningWeir) -> None:
    async with weir.http(weir.admin_key) as client:
        for query, param in NO_LISTS:
            refused = await client.get(f"{BUDGETS}?{query}")
            assert error(refused)[:2] == (400, param), query


async def test_history_and_windows_are_paged(weir: RunningWeir) -> None:
    made = await make(weir)
    await weir.sql(
        "INSERT INTO budget_windows (budget_id, starts_at, ends_at, opening_nano, spent_nano) "
        "VALUES ($1, '2026-01-01', '2026-02-01', 0, 7), ($1, '2026-02-01', '2026-03-01', NULL, 8)",
        made["id"],
    )
    async with weir.http(weir.admin_key) as client:
        for name in ("Second", "Third"):
            await client.patch(f"{BUDGETS}/{made['id']}", json={"name": name})
        for kind, prefix in (("history", "bchg_"), ("windows", "bwin_")):
            path = f"{BUDGETS}/{made['id']}/{kind}"
            whole = (await client.get(path)).json()
            first = (await client.get(path, params={"limit": 2})).json()
            rest = (await client.get(path, params={"limit": 2, "after": first["last_id"]})).json()
            oldest = (await client.get(path, params={"order": "asc"})).json()
            wrong = await client.get(path, params={"after": made["id"]})
            assert [first["has_more"], rest["has_more"]] == [True, False]
            assert first["data"] + rest["data"] == whole["data"] == oldest["data"][::-1]
            assert (whole["first_id"], whole["last_id"]) == (whole["data"][0]["id"], whole["data"][-1]["id"])
            assert whole["first_id"].startswith(prefix)
            assert error(wrong)[:2] == (400, "after")
        windows = (await client.get(f"{BUDGETS}/{made['id']}/windows")).json()["data"]
    newest = windows[0]
    assert {**newest, "id": ""} == {
        "id": "",
        "object": "weir.budget.window",
        "starts_at": 1769904000,
        "ends_at": 1772323200,
        "extra_usd": "0",
        "opening_usd": None,
        "spent_usd": "0.000000008",
        "reserved_usd": "0",
        "withheld_usd": "0",
    }


async def test_an_api_key_sees_its_own_budgets_and_cannot_manage_any(weir: RunningWeir) -> None:
    mine = await make(weir, scope="project", scope_id=DEFAULT_PROJECT_ID)
    everybodys = await make(weir)
    await weir.sql("INSERT INTO projects (id, name) VALUES ('proj_other', 'Other')")
    others = await make(weir, scope="project", scope_id="proj_other")
    async with weir.http() as client:
        listed = await client.get("/v1/gateway/my/budgets")
        page = await client.get("/v1/gateway/my/budgets", params={"limit": 1, "after": mine["id"]})
        refused = [
            await client.get(BUDGETS),
            await client.post(BUDGETS, json=body()),
            await client.get(f"{BUDGETS}/{mine['id']}"),
            await client.patch(f"{BUDGETS}/{mine['id']}", json={"limit_usd": "1000"}),
            await client.delete(f"{BUDGETS}/{mine['id']}"),
            await client.post(f"{BUDGETS}/{mine['id']}/top_up", json={"amount_usd": "1000"}),
        ]
    assert listed.json()["data"] == [mine, everybodys]
    assert page.json()["data"] == [everybodys]
    assert [response.status_code for response in refused] == [403] * len(refused)
    async with weir.http(weir.admin_key) as client:
        assert (await client.get(f"{BUDGETS}/{others['id']}")).json() == others
