"""Upstreams as administrators add, find, change and delete them."""

from typing import Any

import pytest

from app.upstreams import admin_service
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.upstreams import SECOND_KEY, Managed
from tests.fixtures.weir import RunningWeir

OTHER_KEY = "sk-another-one-that-must-never-be-seen"


async def audited(managed: Managed) -> list[tuple[Any, ...]]:
    rows = await managed.weir.sql(
        "SELECT event, resource_id, details FROM audit_entries WHERE event LIKE 'upstream.%' ORDER BY position"
    )
    return [tuple(row) for row in rows]


def accounted(managed: Managed) -> list[str]:
    """The paths that the second simulator was asked for."""
    return [call.path for call in managed.second.account.calls]


async def test_an_upstream_is_added_and_read(managed: Managed) -> None:
    made = await managed.add(
        models=["second-*", "other"], aliases={"alias": "sim-small"}, priority=-3, weight=7, calls_at_once=5,
        requests_per_minute=60, total_timeout_seconds=90.5,
    )  # fmt: skip

    answer = await managed.call("GET", f"/{made['id']}")

    assert answer.json() == made
    assert answer.headers["etag"] == '"1"'
    created_at = made.pop("created_at")
    assert made.pop("updated_at") == created_at
    assert made.pop("id").startswith("upstream_")
    assert made == {
        "object": "weir.upstream",
        "name": "second",
        "provider": "openai",
        "base_url": managed.second_url,
        "models": ["second-*", "other"],
        "aliases": {"alias": "sim-small"},
        "priority": -3,
        "weight": 7,
        "connect_timeout_seconds": None,
        "first_byte_timeout_seconds": None,
        "between_chunks_timeout_seconds": None,
        "total_timeout_seconds": 90.5,
        "api_version": None,
        "requests_per_minute": 60,
        "calls_at_once": 5,
        "enabled": True,
        "redacted_api_key": f"…{SECOND_KEY[-4:]}",
        "state": "ready",
    }
    [(event, _, details)] = await audited(managed)
    assert event == "upstream.created"
    assert '"weight": 7' in details
    assert accounted(managed) == ["/v1/models"]


async def test_the_directory_of_calls_has_it_as_it_was_given(managed: Managed) -> None:
    made = await managed.add(aliases={"alias": "sim-small"}, weight=7, total_timeout_seconds=90.5)

    [_, upstream] = managed.weir.wiring.upstreams._directory.upstreams

    assert (upstream.id, upstream.name, upstream.api_key) == (made["id"], "second", SECOND_KEY)
    assert (upstream.weight, upstream.timeouts.total_timeout_seconds) == (7, 90.5)
    assert upstream.serves("second-model")
    assert upstream.serves("alias")
    assert not upstream.serves("gpt-4o")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"name": "openai"}, "name"),
        ({"name": "simulator"}, "name"),
        ({"name": "two words"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"provider": "anthropic"}, "provider"),
        ({"base_url": "https://user:secret@api.example/v1"}, "base_url"),
        ({"base_url": "ftp://api.example"}, "base_url"),
        ({"base_url": "https://169.254.169.254/latest"}, "base_url"),
        ({"base_url": "http://8.8.8.8/v1"}, "base_url"),
        ({"api_key": "two words"}, "api_key"),
        ({"api_key": "a\nb"}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"models": []}, "models"),
        ({"models": ["x" * 257]}, "models[0]"),
        ({"models": [""]}, "models[0]"),
        ({"aliases": {"gpt-*": "x"}}, "aliases.gpt-*.[key]"),
        ({"aliases": {"gpt": "a\nb"}}, "aliases.gpt"),
        ({"priority": 1001}, "priority"),
        ({"weight": -1}, "weight"),
        ({"weight": 1.5}, "weight"),
        ({"connect_timeout_seconds": 0}, "connect_timeout_seconds"),
        ({"api_version": "2024-10-21"}, "api_version"),
        ({"provider": "azure", "api_version": "latest&x=y"}, "api_version"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"calls_at_once": 0}, "calls_at_once"),
        ({"enabled": None}, "enabled"),
        ({"id": "upstream_mine"}, "id"),
        ({"api_key_encrypted": "AQ=="}, "api_key_encrypted"),
        ({"version": 7}, "version"),
    ],
)
async def test_what_cannot_be_an_upstream_is_refused_by_its_name(
    managed: Managed, changes: dict[str, Any], param: str
) -> None:
    new = {"name": "second", "base_url": managed.second_url, "api_key": SECOND_KEY, "models": ["second-*"], **changes}
    answer = await managed.call("POST", json=new)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert "secret" not in answer.text
    assert await audited(managed) == []
    assert accounted(managed) == []


async def test_calls_go_to_an_upstream_as_soon_as_it_is_added_and_until_it_is_deleted(managed: Managed) -> None:
    made = await managed.add(models=["gpt-4o-mini"])
    assert managed.weir.wiring.upstreams.plan("gpt-4o-mini").targets[-1].upstream.name == "second"

    deleted = await managed.call("DELETE", f"/{made['id']}")

    assert deleted.json() == {"id": made["id"], "object": "weir.upstream.deleted", "deleted": True}
    assert len(managed.weir.wiring.upstreams.plan("gpt-4o-mini").targets) == 1
    for method in ("GET", "PATCH", "DELETE"):
        gone = await managed.call(method, f"/{made['id']}", **({"json": {"weight": 1}} if method == "PATCH" else {}))
        assert (gone.status_code, gone.json()["error"]["param"]) == (404, "upstream_id")
    assert (await managed.call("POST", f"/{made['id']}/test")).status_code == 404
    assert (await audited(managed))[-1][:2] == ("upstream.deleted", made["id"])


async def test_two_upstreams_cannot_have_one_name(managed: Managed) -> None:
    await managed.add()
    new = {"name": "second", "base_url": managed.second_url, "models": ["x"], "test": False}
    answer = await managed.call("POST", json=new)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "upstream_exists")


async def test_there_is_a_most_to_how_many_upstreams_there_are(
    managed: Managed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_service, "UPSTREAMS_MAX", 1)
    await managed.add()
    new = {"name": "third", "base_url": managed.second_url, "models": ["x"], "test": False}
    answer = await managed.call("POST", json=new)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")


async def test_pages_follow_one_another_in_both_orders(managed: Managed) -> None:
    names = ["c", "a", "b"]
    for name in names:
        await managed.add(name=name, test=False)

    for query, expected in (
        ("", names),
        ("&order=desc", names[::-1]),
        ("&sort=name", sorted(names)),
        ("&sort=name&order=desc", sorted(names, reverse=True)),
    ):
        seen: list[str] = []
        after = ""
        for _ in names:
            page = (await managed.call("GET", f"?limit=1{query}{after}")).json()
            seen += [each["name"] for each in page["data"]]
            assert page["first_id"] == page["last_id"] == page["data"][0]["id"]
            assert page["has_more"] == (len(seen) < len(names))
            after = f"&after={page['last_id']}"
        assert seen == expected

    for query in ("?after=upstream_unknown", "?limit=0", "?sort=weight", "?nmae=x"):
        assert (await managed.call("GET", query)).status_code == 400


async def test_a_change_is_in_force_at_once_and_audited(managed: Managed) -> None:
    made = await managed.add()
    managed.second.account.reset()

    answer = await managed.call(
        "PATCH", f"/{made['id']}", json={"weight": 3, "models": ["third-*"], "calls_at_once": 9, "priority": 0}
    )

    changed = answer.json()
    assert (changed["weight"], changed["models"], changed["calls_at_once"]) == (3, ["third-*"], 9)
    assert answer.headers["etag"] == '"2"'
    assert managed.weir.wiring.upstreams._directory.upstreams[-1].serves("third-model")
    event, upstream_id, details = (await audited(managed))[-1]
    assert (event, upstream_id) == ("upstream.updated", made["id"])
    assert '"weight": 3' in details
    assert "priority" not in details  # which is as it was
    assert accounted(managed) == []  # nothing that a test could find out has changed

    undone = await managed.call("PATCH", f"/{made['id']}", json={"calls_at_once": None})
    assert undone.json()["calls_at_once"] is None


async def test_a_change_of_nothing_changes_nothing(managed: Managed) -> None:
    made = await managed.add()
    for change in ({}, {"weight": 100, "base_url": managed.second_url.upper().replace("/V1", "/v1/")}):
        answer = await managed.call("PATCH", f"/{made['id']}", json=change)
        assert (answer.json(), answer.headers["etag"]) == (made, '"1"')
    assert len(await audited(managed)) == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": "other"}, "name"),
        ({"weight": None}, "weight"),
        ({"base_url": None}, "base_url"),
        ({"models": None}, "models"),
        ({"models": []}, "models"),
        ({"aliases": None}, "aliases"),
        ({"test": None}, "test"),
        ({"api_version": "2024-10-21"}, "api_version"),
        ({"base_url": "https://10.0.0.1@evil.example"}, "base_url"),
    ],
)
async def test_what_cannot_be_changed_is_refused_by_its_name(
    managed: Managed, change: dict[str, Any], param: str
) -> None:
    made = await managed.add()
    answer = await managed.call("PATCH", f"/{made['id']}", json=change)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert (await managed.call("GET", f"/{made['id']}")).json() == made


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_of_two_who_change_at_once_the_second_is_told(managed: Managed, method: str) -> None:
    path = f"/{(await managed.add())['id']}"
    body = {"json": {"weight": 9}} if method == "PATCH" else {}
    await managed.call("PATCH", path, json={"weight": 8}, headers={"if-match": '"1"'})

    late = await managed.call(method, path, headers={"if-match": '"1"'}, **body)
    assert (late.status_code, late.json()["error"]["code"]) == (412, "precondition_failed")

    again = await managed.call(method, path, headers={"if-match": '"7", "2"'}, **body)
    assert again.status_code == 200


async def test_a_change_that_was_overtaken_while_it_was_tested_is_not_saved(
    managed: Managed, canned: CannedUpstream, canned_weir: RunningWeir, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await managed.add()
    service: Any = managed.weir.wiring.upstream_admin
    try_out = service._trials.try_out

    async def overtaken(upstream: Any) -> Any:
        async with managed.weir.http(managed.weir.admin_key) as client:
            await client.patch(f"/v1/gateway/upstreams/{made['id']}", json={"weight": 1})
        return await try_out(upstream)

    monkeypatch.setattr(service._trials, "try_out", overtaken)
    answer = await managed.call("PATCH", f"/{made['id']}", json={"api_key": SECOND_KEY, "weight": 2})

    assert (answer.status_code, answer.json()["error"]["code"]) == (412, "precondition_failed")
    assert (await managed.call("GET", f"/{made['id']}")).json()["weight"] == 1


async def test_only_administrators_may_change_upstreams(managed: Managed) -> None:
    made = await managed.add()
    async with managed.weir.http() as api_key, managed.weir.http("") as nobody:
        for client, status in ((api_key, 403), (nobody, 401)):
            for method, path in (
                ("GET", ""), ("POST", ""), ("GET", f"/{made['id']}"), ("PATCH", f"/{made['id']}"),
                ("DELETE", f"/{made['id']}"), ("POST", f"/{made['id']}/test"),
            ):  # fmt: skip
                answer = await client.request(method, f"/v1/gateway/upstreams{path}")
                assert answer.status_code == status, (method, path)


async def test_an_upstream_that_is_disabled_gets_no_calls_and_can_be_tested(managed: Managed) -> None:
    made = await managed.add(enabled=False, models=["gpt-4o-mini"])
    assert made["state"] == "disabled"
    assert len(managed.weir.wiring.upstreams.plan("gpt-4o-mini").targets) == 1

    assert (await managed.call("POST", f"/{made['id']}/test")).json()["ok"]

    managed.second.account.reset()
    enabled = await managed.call("PATCH", f"/{made['id']}", json={"enabled": True})
    assert enabled.json()["state"] == "ready"
    assert accounted(managed) == ["/v1/models"]
    assert len(managed.weir.wiring.upstreams.plan("gpt-4o-mini").targets) == 2


async def test_a_credential_is_not_taken_along_to_another_server(
    managed: Managed, canned: CannedUpstream, canned_weir: RunningWeir
) -> None:
    made = await managed.add()
    canned.answers_json({"data": []})
    elsewhere = {"base_url": canned_weir.settings.openai_base_url}

    refused = await managed.call("PATCH", f"/{made['id']}", json=elsewhere)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "api_key")
    assert canned.requests == []

    moved = await managed.call("PATCH", f"/{made['id']}", json={**elsewhere, "api_key": OTHER_KEY})
    assert moved.json()["redacted_api_key"] == f"…{OTHER_KEY[-4:]}"
    assert [OTHER_KEY.encode() in request for request in canned.requests] == [True]


async def test_another_path_of_the_same_server_needs_no_new_credential(managed: Managed) -> None:
    made = await managed.add()
    answer = await managed.call(
        "PATCH", f"/{made['id']}", json={"base_url": f"{managed.second_url}/elsewhere", "test": False}
    )
    assert answer.status_code == 200


async def test_a_credential_can_be_changed_and_taken_away(managed: Managed) -> None:
    made = await managed.add()

    wrong = await managed.call("PATCH", f"/{made['id']}", json={"api_key": OTHER_KEY})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, "api_key")

    kept = await managed.call("PATCH", f"/{made['id']}", json={"api_key": OTHER_KEY, "test": False})
    assert kept.json()["redacted_api_key"] == f"…{OTHER_KEY[-4:]}"
    assert managed.weir.wiring.upstreams._directory.upstreams[-1].api_key == OTHER_KEY

    none = await managed.call("PATCH", f"/{made['id']}", json={"api_key": None, "test": False})
    assert none.json()["redacted_api_key"] is None
    assert managed.weir.wiring.upstreams._directory.upstreams[-1].api_key == ""


async def test_of_a_short_credential_nothing_is_shown(managed: Managed) -> None:
    made = await managed.add(api_key="ollama", test=False)
    assert made["redacted_api_key"] == "…"
