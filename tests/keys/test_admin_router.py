"""Keys with all that Weir knows of them: who may see, make, change, rotate and revoke which."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.signed_in import SignedIn, sign_in
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir

KEYS = "/v1/gateway/keys"
NEW = {"name": "a test's", "project_id": DEFAULT_PROJECT_ID}
HI = {"model": "sim-small", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
async def admin(weir: RunningWeir) -> AsyncIterator[httpx.AsyncClient]:
    async with weir.http(weir.admin_key) as client:
        yield client


@pytest.fixture
async def ada(weir: RunningWeir) -> SignedIn:
    return await sign_in(weir, "Ada", "member", proj_default="member")


async def make(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post(KEYS, json={**NEW, **fields})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def works(weir: RunningWeir, value: str) -> bool:
    async with weir.http(value) as client:
        return (await client.get("/v1/models")).status_code == 200


async def ids(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get(KEYS, params={"limit": 100, **query})
    assert answer.status_code == 200, answer.text
    return [key["id"] for key in answer.json()["data"]]


def refused(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()["error"]["param"]


async def test_a_key_is_made_with_everything_it_is_kept_to(
    weir: RunningWeir, admin: httpx.AsyncClient, ada: SignedIn
) -> None:
    fields = {"scopes": ["model.request"], "models": ["sim-s*"], "networks": ["127.0.0.1", "10.0.0.0/8"]}
    made = await make(admin, user_id=ada.id, expires_in_seconds=60, **fields)

    assert (made["user_id"], made["service_account_id"], made["revoked_at"]) == (ada.id, None, None)
    assert (made["scopes"], made["models"]) == (["api.model.request"], ["sim-s*"])
    assert made["networks"] == ["127.0.0.1/32", "10.0.0.0/8"]
    assert made["expires_at"] == made["created_at"] + 60
    found = await admin.get(f"{KEYS}/{made['id']}")
    assert found.json() == {name: value for name, value in made.items() if name != "value"}
    async with weir.http(made["value"]) as client:
        assert (await client.post("/v1/chat/completions", json=HI)).status_code == 200
        large = await client.post("/v1/chat/completions", json={**HI, "model": "sim-large"})
        assert (large.status_code, large.json()["error"]["code"]) == (404, "model_not_found")
        assert (await client.get("/v1/models")).status_code == 403


async def test_a_key_of_a_service_account_may_be_made_too(weir: RunningWeir, admin: httpx.AsyncClient) -> None:
    path = f"/v1/organization/projects/{DEFAULT_PROJECT_ID}/service_accounts"
    account = (await admin.post(path, json={"name": "job"})).json()
    made = await make(admin, service_account_id=account["id"])
    assert (made["service_account_id"], made["user_id"]) == (account["id"], None)
    assert await works(weir, made["value"])
    assert await ids(admin, owner_id=account["id"]) == [account["api_key"]["id"], made["id"]]
    other = (await admin.post("/v1/organization/projects", json={"name": "Other"})).json()
    stranger = await admin.post(KEYS, json={**NEW, "project_id": other["id"], "service_account_id": account["id"]})
    assert refused(stranger) == (404, "service_account_id")


async def test_a_key_works_from_its_networks_only(weir: RunningWeir, admin: httpx.AsyncClient, ada: SignedIn) -> None:
    made = await make(admin, user_id=ada.id, networks=["203.0.113.0/24", "2001:db8::/32"])
    async with weir.http(made["value"]) as client:
        for answer in (await client.get("/v1/models"), await client.post("/v1/chat/completions", json=HI)):
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "ip_not_authorized")
            assert "127.0.0.1" in answer.json()["error"]["message"]
    await admin.patch(f"{KEYS}/{made['id']}", json={"networks": []})
    assert await works(weir, made["value"])


async def test_a_member_makes_and_manages_the_own_keys_and_no_others(
    weir: RunningWeir, admin: httpx.AsyncClient, ada: SignedIn
) -> None:
    bob = await sign_in(weir, "Bob", "member", proj_default="admin")
    project = (await admin.post("/v1/organization/projects", json={"name": "Other"})).json()["id"]
    hidden = (await admin.post(f"/v1/organization/projects/{project}/service_accounts", json={"name": "x"})).json()
    async with weir.http(ada.token) as by_ada, weir.http(bob.token) as by_bob:
        own = await make(by_ada)
        assert own["user_id"] == ada.id
        assert await works(weir, own["value"])
        of_bob = await make(by_bob)
        assert own["id"] in await ids(by_bob)

        assert of_bob["id"] in await ids(by_ada)  # a member sees the keys of the project
        for forbidden in (
            await by_ada.patch(f"{KEYS}/{of_bob['id']}", json={"name": "x"}),
            await by_ada.post(f"{KEYS}/{of_bob['id']}/rotate", json={}),
            await by_ada.delete(f"{KEYS}/{of_bob['id']}"),
            await by_ada.post(KEYS, json={**NEW, "user_id": bob.id}),
        ):
            assert forbidden.status_code == 403
        for unseen in (
            await by_ada.get(f"{KEYS}/{hidden['api_key']['id']}"),
            await by_ada.delete(f"{KEYS}/{hidden['api_key']['id']}"),
            await by_ada.get(f"{KEYS}/key_nobody"),
        ):
            assert refused(unseen) == (404, "key_id")
        assert refused(await by_ada.post(KEYS, json={**NEW, "project_id": project})) == (404, "project_id")
        assert refused(await by_ada.get(KEYS, params={"after": hidden["api_key"]["id"]})) == (400, "after")
        assert await ids(by_ada, project_id=project) == []

        assert (await by_ada.patch(f"{KEYS}/{own['id']}", json={"name": "mine"})).json()["name"] == "mine"
        assert (await by_bob.patch(f"{KEYS}/{own['id']}", json={"name": "yours"})).json()["name"] == "yours"
        assert (await by_ada.delete(f"{KEYS}/{own['id']}")).json()["deleted"]
    viewer = await sign_in(weir, "Vic", "viewer", proj_default="viewer")
    async with weir.http(viewer.token) as by_viewer:
        assert hidden["api_key"]["id"] in await ids(by_viewer)
        assert (await by_viewer.post(KEYS, json=NEW)).status_code == 403
    async with weir.http() as with_api_key:
        assert (await with_api_key.get(KEYS)).status_code == 403
    assert not await works(weir, own["value"])


async def test_admin_keys_and_unknown_keys_are_not_there(weir: RunningWeir, admin: httpx.AsyncClient) -> None:
    [row] = await weir.sql("SELECT id FROM api_keys WHERE kind = 'admin'")
    for key_id in (row["id"], "key_nobody", "%", "x" * 256):
        assert refused(await admin.get(f"{KEYS}/{key_id}")) == (404, "key_id")
    assert refused(await admin.get(f"{KEYS}/{'x' * 257}")) == (400, "key_id")
    assert row["id"] not in await ids(admin)


async def test_a_list_is_filtered_sorted_and_paged(weir: RunningWeir, admin: httpx.AsyncClient, ada: SignedIn) -> None:
    [first] = await ids(admin)
    other = (await admin.post("/v1/organization/projects", json={"name": "Other"})).json()["id"]
    path = f"/v1/organization/projects/{other}/service_accounts"
    of_other = (await admin.post(path, json={"name": "job"})).json()["api_key"]["id"]
    made = [(await make(admin, user_id=ada.id, name=name))["id"] for name in ("c%", "a_", "b")]
    await admin.delete(f"{KEYS}/{made[0]}")

    assert await ids(admin) == [first, of_other, *made]
    assert await ids(admin, order="desc") == [*made[::-1], of_other, first]
    assert await ids(admin, owner_id=ada.id, sort="name") == [made[1], made[2], made[0]]
    assert await ids(admin, owner_id=ada.id, revoked=True) == [made[0]]
    assert await ids(admin, owner_id=ada.id, revoked=False) == made[1:]
    assert await ids(admin, project_id=other) == [of_other]
    assert await ids(admin, owner_id="%") == []
    assert await ids(admin, owner_id=ada.id, sort="name", order="desc", after=made[0], limit=1) == [made[2]]
    assert await ids(admin, revoked=False, after=made[0]) == made[1:]  # one that was revoked while a list is read
    assert refused(await admin.get(KEYS, params={"project_id": other, "after": made[0]})) == (400, "after")
    page = (await admin.get(KEYS, params={"limit": 2})).json()
    assert (page["first_id"], page["last_id"], page["has_more"]) == (first, of_other, True)


BAD_QUERIES: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "limit"),
    ({"limit": -1}, "limit"),
    ({"limit": 101}, "limit"),
    ({"limit": 10**40}, "limit"),
    ({"after": "key_forged"}, "after"),
    ({"after": "a\0"}, "after"),
    ({"order": "random"}, "order"),
    ({"sort": "digest"}, "sort"),
    ({"sort": "name; DROP TABLE api_keys"}, "sort"),
    ({"revoked": "maybe"}, "revoked"),
    ({"project": "proj_default"}, "project"),
]


async def test_a_list_that_cannot_be_is_refused_by_name(admin: httpx.AsyncClient) -> None:
    for query, param in BAD_QUERIES:
        assert refused(await admin.get(KEYS, params=query)) == (400, param), query


BAD_KEYS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "a\x1bb"}, "name"),
    ({"name": "x" * 200_000}, "name"),
    ({"scopes": ["api.management"]}, "scopes[0]"),
    ({"scopes": "api.all"}, "scopes"),
    ({"models": [""]}, "models[0]"),
    ({"models": ["x"] * 101}, "models"),
    ({"networks": ["10.0.0.1/8"]}, "networks[0]"),
    ({"networks": ["everywhere"]}, "networks[0]"),
    ({"networks": ["fe80::1%eth0"]}, "networks[0]"),
    ({"networks": ["10.0.0.0/33"]}, "networks[0]"),
    ({"expires_in_seconds": 0}, "expires_in_seconds"),
    ({"expires_in_seconds": "soon"}, "expires_in_seconds"),
    ({"kind": "admin"}, "kind"),
    ({"id": "key_mine"}, "id"),
    ({"value": "wk-mine"}, "value"),
    ({"last_used_at": 1}, "last_used_at"),
]


async def test_keys_that_cannot_be_are_refused_by_name(admin: httpx.AsyncClient, ada: SignedIn) -> None:
    made = await make(admin, user_id=ada.id)
    for change, param in BAD_KEYS:
        assert refused(await admin.post(KEYS, json={**NEW, "user_id": ada.id, **change})) == (400, param), change
        assert refused(await admin.patch(f"{KEYS}/{made['id']}", json=change)) == (400, param), change
    for change, param in (({"project_id": "proj_other"}, "project_id"), ({"user_id": ada.id}, "user_id")):
        assert refused(await admin.patch(f"{KEYS}/{made['id']}", json=change)) == (400, param)
    assert refused(await admin.patch(f"{KEYS}/{made['id']}", json={"name": None})) == (400, "name")
    for body, answer in (
        (NEW, (400, "user_id")),
        ({**NEW, "user_id": "user_nobody"}, (400, "user_id")),
        ({**NEW, "user_id": ada.id, "service_account_id": "svc_1"}, (400, "service_account_id")),
        ({**NEW, "user_id": ada.id, "project_id": "proj_nowhere"}, (404, "project_id")),
    ):
        assert refused(await admin.post(KEYS, json=body)) == answer, body
    assert refused(await admin.post(f"{KEYS}/{made['id']}/rotate", json={"grace_seconds": -1})) == (
        400,
        "grace_seconds",
    )
    assert refused(await admin.post(f"{KEYS}/{made['id']}/rotate", json={"value": "wk-x"})) == (400, "value")


async def test_of_two_who_change_a_key_at_once_the_later_one_is_told(admin: httpx.AsyncClient, ada: SignedIn) -> None:
    path = f"{KEYS}/{(await make(admin, user_id=ada.id))['id']}"
    tag = (await admin.get(path)).headers["etag"]

    answers = await asyncio.gather(
        *(admin.patch(path, json={"name": name}, headers={"if-match": tag}) for name in ("one", "two"))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 412]
    [winner] = [answer for answer in answers if answer.status_code == 200]
    assert (await admin.get(path)).json()["name"] == winner.json()["name"]
    stale = {"if-match": tag}
    assert (await admin.post(f"{path}/rotate", json={}, headers=stale)).status_code == 412
    assert (await admin.delete(path, headers=stale)).status_code == 412
    same = await admin.patch(path, json={"name": winner.json()["name"]}, headers={"if-match": winner.headers["etag"]})
    assert same.headers["etag"] == winner.headers["etag"]  # nothing is different, so nothing changed
    assert (await admin.get(path, headers={"if-none-match": winner.headers["etag"]})).status_code == 304
    assert (await admin.delete(path, headers={"if-match": f'"no", {winner.headers["etag"]}'})).status_code == 200


async def test_that_a_key_was_used_changes_its_tag_and_stops_nobody_from_changing_it(
    weir: RunningWeir, admin: httpx.AsyncClient, ada: SignedIn
) -> None:
    made = await make(admin, user_id=ada.id)
    path = f"{KEYS}/{made['id']}"
    tag = (await admin.get(path)).headers["etag"]
    assert await works(weir, made["value"])
    await weir.wiring.tenants.key_use.write()

    used = await admin.get(path, headers={"if-none-match": tag})

    assert used.json()["last_used_at"] is not None
    assert (await admin.patch(path, json={"name": "x"}, headers={"if-match": tag})).status_code == 200


async def test_a_rotated_key_works_with_both_values_until_the_grace_is_over(
    weir: RunningWeir, admin: httpx.AsyncClient, ada: SignedIn
) -> None:
    made = await make(admin, user_id=ada.id)
    path = f"{KEYS}/{made['id']}"
    assert await works(weir, made["value"])

    first = (await admin.post(f"{path}/rotate", json={"grace_seconds": 3_600})).json()
    assert first["id"] == made["id"]
    assert first["redacted_value"] != made["redacted_value"]
    assert first["previous_value_expires_at"] is not None
    assert [await works(weir, value) for value in (made["value"], first["value"])] == [True, True]

    await weir.sql("UPDATE api_keys SET previous_expires_at = now() - interval '1 second' WHERE id = $1", made["id"])
    weir.wiring.keys.forget(made["id"])
    assert [await works(weir, value) for value in (made["value"], first["value"])] == [False, True]

    second = (await admin.post(f"{path}/rotate", json={"grace_seconds": 60})).json()
    third = (await admin.post(f"{path}/rotate", json={})).json()
    assert third["previous_value_expires_at"] is None
    worked = [await works(weir, key["value"]) for key in (first, second, third)]
    assert worked == [False, False, True]
    rows = await weir.sql("SELECT details FROM audit_entries WHERE event = 'api_key.updated' ORDER BY position")
    assert [value["value"] in str(rows) for value in (first, second, third)] == [False] * 3
    assert len(rows) == 3


async def test_a_revoked_or_expired_key_cannot_be_brought_back(
    weir: RunningWeir, admin: httpx.AsyncClient, ada: SignedIn
) -> None:
    revoked, expired = await make(admin, user_id=ada.id), await make(admin, user_id=ada.id)
    await admin.delete(f"{KEYS}/{revoked['id']}")
    await weir.sql("UPDATE api_keys SET expires_at = now() WHERE id = $1", expired["id"])
    for key in (revoked, expired):
        path = f"{KEYS}/{key['id']}"
        assert refused(await admin.patch(path, json={"expires_in_seconds": 60})) == (400, "key_id")
        assert refused(await admin.post(f"{path}/rotate", json={})) == (400, "key_id")
    again = await admin.delete(f"{KEYS}/{revoked['id']}")
    assert (again.status_code, again.json()["deleted"]) == (200, True)


async def test_an_expiry_is_set_and_taken_away(weir: RunningWeir, admin: httpx.AsyncClient, ada: SignedIn) -> None:
    made = await make(admin, user_id=ada.id, expires_in_seconds=60)
    path = f"{KEYS}/{made['id']}"
    later = (await admin.patch(path, json={"expires_in_seconds": 3_600})).json()
    assert later["expires_at"] > made["expires_at"]
    assert (await admin.patch(path, json={"expires_in_seconds": None})).json()["expires_at"] is None


async def test_every_change_of_a_key_is_told_to_other_processes(
    weir: RunningWeir, start_weir: StartWeir, admin: httpx.AsyncClient, ada: SignedIn
) -> None:
    other = await start_weir({"keys.cache_seconds": 3_600})  # in which it does not look by itself
    made = await make(admin, user_id=ada.id)
    path = f"{KEYS}/{made['id']}"
    async with other.http(made["value"]) as there:

        async def answers(status: int) -> None:
            async def does() -> bool:
                return (await there.get("/v1/models")).status_code == status

            await until(does)

        await answers(200)
        for change, status in (
            ({"scopes": ["api.usage.read"]}, 403),
            ({"scopes": []}, 200),
            ({"networks": ["203.0.113.7"]}, 401),
            ({"networks": []}, 200),
        ):
            assert (await admin.patch(path, json=change)).status_code == 200
            await answers(status)
        rotated = (await admin.post(f"{path}/rotate", json={})).json()
        await answers(401)
        there.headers["authorization"] = f"Bearer {rotated['value']}"
        await answers(200)
        await admin.delete(path)
        await answers(401)
