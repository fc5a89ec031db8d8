"""Every list and every change of the management API keeps the same promises, whichever feature it belongs to.

Lists have pages, and no cursor but their own; answers have an entity tag and are not sent twice; a change that is meant
for something else than what is there is refused.
"""

import re
from typing import Any, Final

from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.signed_in import sign_in
from tests.fixtures.weir import RunningWeir
from tests.limits.making import BODY, make

_NOW: Final = 1_795_361_640
_REQUIRED: Final = {"start_time": _NOW, "start_date": "2026-11-22"}
_MANAGEMENT: Final = ("/v1/organization/", "/v1/gateway/", "/v1/requests")
# Somebody's own things; and upstreams, which answer with how they are at the moment.
_NOT_MANAGEMENT: Final = ("/v1/gateway/auth", "/v1/gateway/explain", "/v1/gateway/upstreams")
# Files are sent as they are made, and prices are never changed.
_STREAMED: Final = {"/v1/gateway/costs.csv"}
# How a limit stands differs from moment to moment.
_LIVE: Final = {"/v1/gateway/my/limits"}
# What can be read of these is a list of them, or of the person.
_NO_TAG: Final = {
    "/v1/organization/projects/{project_id}/rate_limits/{rate_limit_id}",
    "/v1/organization/users/{user_id}/roles",
}
_ACTIONS: Final = re.compile("/(archive|rotate|pause|resume|top_up)$")
_ALERT: Final = {
    "threshold_amount": 200,
    "currency": "USD",
    "interval": "month",
    "notification_channel": {"type": "email", "recipients": ["a@example.com"]},
}
# By the end of the path; what is not here takes an empty body.
_BODIES: Final[dict[str, dict[str, Any]]] = {
    "limits/{limit_id}": {"maximum": 9},
    "upstreams/{upstream_id}": {"weight": 9},
    "budgets/{budget_id}": {"name": "changed"},
    "{budget_id}/top_up": {"amount_usd": "1"},
    "spend_limit": {"threshold_amount": 700, "currency": "USD", "interval": "month"},
    "spend_alerts/{alert_id}": _ALERT,
    "rate_limits/{rate_limit_id}": {"max_requests_per_1_minute": 7},
    "projects/{project_id}": {"name": "changed"},
    "users/{user_id}": {"role": "viewer"},
    "{project_id}/model_permissions": {"mode": "deny_list", "model_ids": ["o1"]},
    "{project_id}/cache": {"enabled": True},
    "service_accounts/{service_account_id}": {"name": "changed"},
    "api_keys/{api_key_id}": {"expires_in_seconds": 3_600},
    "keys/{key_id}": {"name": "changed"},
    "{user_id}/roles": {"role_id": "role_viewer"},
}
_FORGED: Final = ("' OR 1=1 --", "%", "\u202e")
_BAD_LIMITS: Final = ("-1", "99999999999999999999999999", "")


class Operation:
    """One operation of the description, with an object for each of its path's names."""

    def __init__(self, path: str, method: str, described: dict[str, Any]) -> None:
        self.path = path
        self.method = method.upper()
        self._parameters = described.get("parameters", [])
        self.query = {each["name"]: each for each in self._parameters if each["in"] == "query"}
        self.has_if_match = any(each["name"] == "if-match" for each in self._parameters)

    @property
    def is_list(self) -> bool:
        return "limit" in self.query

    @property
    def required(self) -> dict[str, Any]:
        return {name: value for name, value in _REQUIRED.items() if name in self.query}

    def filled(self, things: dict[str, str]) -> str:
        return re.sub(r"{(\w+)}", lambda name: things[name[1]], self.path)


async def operations(weir: RunningWeir) -> list[Operation]:
    async with weir.http("") as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    every = [Operation(path, method, what) for path, methods in paths.items() for method, what in methods.items()]
    return [each for each in every if each.path.startswith(_MANAGEMENT) and not each.path.startswith(_NOT_MANAGEMENT)]


async def furnished(weir: RunningWeir, name: str = "Ada") -> dict[str, str]:
    """Make one of everything, and return their ids by the names that paths have for them."""
    project_id = f"proj_of_{name.lower()}"
    await weir.sql("INSERT INTO projects (id, name) VALUES ($1, $1)", project_id)
    ada = await sign_in(weir, name, "member", **{project_id: "member"})
    project = f"/v1/organization/projects/{project_id}"
    things = {
        "project_id": project_id,
        "user_id": ada.id,
        "rate_limit_id": "rl-gpt-4o",
        "role_id": "role_member",
    }
    new = {"limit_usd": "5", "name": "test", "scope": "organization", "period": "month"}
    made: dict[str, tuple[str, dict[str, Any]]] = {
        "service_account_id": (f"{project}/service_accounts", {"name": "a program"}),
        "budget_id": ("/v1/gateway/budgets", new),
        "upstream_id": (
            "/v1/gateway/upstreams",
            {"name": name, "base_url": "https://8.8.8.8/v1", "models": ["x"], "enabled": False, "test": False},
        ),
        "invite_id": ("/v1/organization/invites", {"email": f"not.{name}@example.com", "role": "reader"}),
    }
    async with weir.http(weir.admin_key) as client:

        async def create(path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = await client.post(path, json=body)
            assert answer.status_code == 200, answer.text
            created: dict[str, Any] = answer.json()
            return created

        for thing, (path, body) in made.items():
            things[thing] = (await create(path, body))["id"]
        for path in ("/v1/organization", project):
            await create(f"{path}/spend_limit", {"threshold_amount": 500, "currency": "USD", "interval": "month"})
        things["alert_id"] = (await create(f"{project}/spend_alerts", {**_ALERT, "threshold_amount": 100}))["id"]
        things["organization_alert_id"] = (
            await create("/v1/organization/spend_alerts", {**_ALERT, "threshold_amount": 100})
        )["id"]
        things["limit_id"] = (await make(weir))["id"]
        things["admin_key_id"] = (await create("/v1/organization/admin_api_keys", {"name": "another"}))["id"]
        key = {"name": "ada's", "project_id": project_id, "user_id": ada.id}
        things["key_id"] = things["api_key_id"] = (await create("/v1/gateway/keys", key))["id"]
        things["price_id"] = (await client.get("/v1/gateway/prices")).json()["data"][0]["id"]
    async with weir.http() as client:
        things["request_id"] = (await client.post("/v1/chat/completions", json=BODY)).headers["x-request-id"]
    await weir.entries()
    return things


def place(operation: Operation, things: dict[str, str]) -> str:
    """Return the path of an operation on things that are there."""
    if operation.path.startswith("/v1/organization/admin_api_keys"):
        things = {**things, "key_id": things["admin_key_id"]}
    if operation.path.startswith("/v1/organization/spend_alerts"):
        things = {**things, "alert_id": things["organization_alert_id"]}
    return operation.filled(things)


async def every_list(weir: RunningWeir) -> list[Operation]:
    lists = [each for each in await operations(weir) if each.method == "GET" and each.is_list]
    # Those of usage differ in what they sum up only.
    return [each for each in lists if "/usage/" not in each.path or each.path.endswith("/completions")]


async def test_a_page_that_cannot_be_is_refused_by_every_list(weir: RunningWeir) -> None:
    things = await furnished(weir)
    async with weir.http(weir.admin_key) as client:
        for operation in await every_list(weir):
            path, fixed = place(operation, things), operation.required
            for name, value in [*(("limit", bad) for bad in _BAD_LIMITS), ("nonsense", "1"), ("order", "sideways")]:
                answer = await client.get(path, params={**fixed, name: value})
                assert answer.status_code == 400, (path, name, value, answer.text)
                assert answer.json()["error"]["param"] == name, (path, answer.text)


async def test_no_list_takes_a_cursor_that_it_has_not_given(weir: RunningWeir) -> None:
    things = await furnished(weir)
    async with weir.http(weir.admin_key) as client:
        for operation in await every_list(weir):
            path, fixed = place(operation, things), operation.required
            own = {each.get("id") for each in (await client.get(path, params=fixed)).json()["data"]}
            of_others = sorted({things[name] for name in ("user_id", "key_id", "limit_id", "project_id")} - own)
            for name in {"after", "before", "page"} & operation.query.keys():
                for cursor in (*_FORGED, *(() if name == "page" else of_others)):
                    answer = await client.get(path, params={**fixed, name: cursor})
                    assert answer.status_code in (400, 404), (path, name, cursor, answer.text)


async def test_every_list_can_be_had_either_way_around_save_for_those_that_have_an_order_of_their_own(
    weir: RunningWeir,
) -> None:
    things = await furnished(weir)
    await furnished(weir, "Eve")
    in_their_own_order = set()
    async with weir.http(weir.admin_key) as client:
        for operation in await every_list(weir):
            if "order" not in operation.query:
                in_their_own_order.add(operation.path.rpartition("/")[2])
                continue
            path = place(operation, things)
            there, back = [
                [each["id"] for each in (await client.get(path, params={"order": order})).json()["data"]]
                for order in ("asc", "desc")
            ]
            assert there == back[::-1] or len(there) == 20, path  # 20 are a page, of the prices
            pages = [(await client.get(path, params={"order": "desc", "limit": 1})).json()]
            while pages[-1]["has_more"] and len(pages) < 4:
                last_id = pages[-1].get("last_id") or pages[-1]["next"]
                pages.append((await client.get(path, params={"order": "desc", "limit": 1, "after": last_id})).json())
            assert [each["id"] for page in pages for each in page["data"]] == back[: len(pages)], path
    assert in_their_own_order == {"audit_logs", "rate_limits", "completions", "costs"}


async def test_what_a_client_has_already_is_not_sent_again(weir: RunningWeir) -> None:
    things = await furnished(weir)
    async with weir.http(weir.admin_key) as client:
        for operation in await operations(weir):
            if operation.method != "GET" or operation.path in _STREAMED | _LIVE:
                continue
            path, fixed = place(operation, things), operation.required
            first = await client.get(path, params=fixed)
            assert first.status_code == 200, (path, first.text)
            tag = first.headers["etag"]
            again = await client.get(path, params=fixed, headers={"if-none-match": f'"another", {tag}'})
            if again.status_code == 200:  # a key was used, and that was written meanwhile
                assert again.headers["etag"] != tag, path
                again = await client.get(path, params=fixed, headers={"if-none-match": again.headers["etag"]})
            assert (again.status_code, again.content) == (304, b""), path
            other = await client.get(path, params=fixed, headers={"if-none-match": '"another"'})
            assert other.status_code == 200, path


def body_of(operation: Operation) -> dict[str, Any] | None:
    """Return a body that the operation takes, should it have one."""
    if operation.method == "DELETE":
        return None
    *_, before, last = operation.path.split("/")
    return _BODIES.get(f"{before}/{last}") or _BODIES.get(last) or {}


async def test_every_change_of_what_is_there_heeds_if_match(weir: RunningWeir) -> None:
    things = await furnished(weir)
    every = await operations(weir)
    readable = {each.path for each in every if each.method == "GET" and not each.is_list}
    async with weir.http(weir.admin_key) as client:
        for operation in every:
            if operation.method in {"PATCH", "PUT", "DELETE"} or (
                operation.method == "POST" and operation.path in readable
            ):
                assert operation.has_if_match, (operation.method, operation.path)
            if not operation.has_if_match:
                continue
            path, headers = place(operation, things), {"if-match": '"of-something-else"'}
            answer = await client.request(operation.method, path, json=body_of(operation), headers=headers)
            assert answer.status_code == 412, (operation.method, path, answer.text)
            assert answer.json()["error"]["code"] == "precondition_failed"


async def test_who_has_seen_it_changes_it_and_the_next_who_has_not_does_not(weir: RunningWeir) -> None:
    things = await furnished(weir)
    for operation in sorted(await operations(weir), key=lambda each: each.path.endswith("/archive")):
        if operation.method not in {"POST", "PATCH"} or not operation.has_if_match or operation.path in _NO_TAG:
            continue
        path = place(operation, things)
        async with weir.http(weir.admin_key) as client:
            seen = {"if-match": (await client.get(_ACTIONS.sub("", path))).headers["etag"]}
            first = await client.request(operation.method, path, json=body_of(operation), headers=seen)
            assert first.status_code == 200, (path, first.text)
            second = await client.request(operation.method, path, json=body_of(operation), headers=seen)
            assert second.status_code == 412, (operation.method, path, second.text)


async def test_cursors_of_what_a_caller_may_not_see_are_refused_as_unknown_ones_are(
    weir: RunningWeir,
) -> None:
    things = await furnished(weir)
    await weir.sql("INSERT INTO projects (id, name) VALUES ('proj_theirs', 'Theirs')")
    eve = await sign_in(weir, "Eve", "member", proj_theirs="member")
    theirs = {
        "/v1/organization/projects": things["project_id"],
        "/v1/gateway/keys": things["key_id"],
        "/v1/requests": things["request_id"],
        "/v1/gateway/my/budgets": (await foreign_budget(weir)),
    }
    async with weir.http(eve.token) as client:
        for path, cursor in theirs.items():
            hidden, unknown = [await client.get(path, params={"after": each}) for each in (cursor, f"{cursor}0")]
            assert hidden.status_code == unknown.status_code == 400, (path, hidden.text, unknown.text)
            assert hidden.json() == unknown.json(), path


async def foreign_budget(weir: RunningWeir) -> str:
    """A budget of the project that things are in by default."""
    body = {"limit_usd": "5", "name": "theirs", "scope": "project", "scope_id": DEFAULT_PROJECT_ID, "period": "month"}
    async with weir.http(weir.admin_key) as client:
        made: str = (await client.post("/v1/gateway/budgets", json=body)).json()["id"]
    return made


async def test_whoever_manages_one_project_finds_nothing_of_another_by_its_id(weir: RunningWeir) -> None:
    theirs = await furnished(weir)
    mine = await furnished(weir, "Eve")
    manager = await sign_in(weir, "Mallory", "member", **{mine["project_id"]: "owner"})
    async with weir.http(manager.token) as client:
        for operation in await operations(weir):
            names = set(re.findall(r"{(\w+)}", operation.path)) - {"project_id", "rate_limit_id"}
            is_own = operation.path.startswith(("/v1/organization/projects/{project_id}/", "/v1/gateway/keys/"))
            if not names or not (is_own or operation.path.startswith("/v1/requests/")):
                continue
            there, nowhere = [
                await client.request(
                    operation.method,
                    place(operation, {**ids, "project_id": mine["project_id"]}),
                    json=body_of(operation),
                )
                for ids in (theirs, {name: f"{theirs[name]}0" for name in theirs})
            ]
            assert there.status_code == nowhere.status_code == 404, (operation.method, operation.path, there.text)
            texts = [answer.text for answer in (there, nowhere)]
            for name in names:
                texts = [texts[0].replace(f"'{theirs[name]}'", ""), texts[1].replace(f"'{theirs[name]}0'", "")]
            assert texts[0] == texts[1], operation.path
