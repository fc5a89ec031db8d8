"""What is said of a project's caching: set, read, forgotten, and heeded everywhere."""

from typing import Any

import httpx
import pytest

from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.signed_in import sign_in
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir

PATH = f"/v1/gateway/projects/{DEFAULT_PROJECT_ID}/cache"
NOTHING = {"object": "gateway.project.cache", "enabled": None, "ttl_seconds": None}
ON = {"object": "gateway.project.cache", "enabled": True, "ttl_seconds": 600}


async def call(weir: RunningWeir, method: str, path: str = PATH, key: str | None = None, **more: Any) -> httpx.Response:
    async with weir.http(weir.admin_key if key is None else key) as client:
        return await client.request(method, path, **more)


async def test_it_is_set_and_forgotten(weir: RunningWeir) -> None:
    assert (await call(weir, "GET")).json() == NOTHING
    made = await call(weir, "PUT", json={"enabled": True, "ttl_seconds": 600})
    assert (made.status_code, made.json()) == (200, ON)
    assert (await call(weir, "GET")).json() == ON
    assert (await call(weir, "PUT", json={"enabled": False})).json() == {**ON, "enabled": False, "ttl_seconds": None}
    deleted = await call(weir, "DELETE")
    assert deleted.json() == {"object": "gateway.project.cache.deleted", "deleted": True}
    assert (await call(weir, "GET")).json() == NOTHING
    assert (await call(weir, "DELETE")).status_code == 200
    rows = await weir.sql("SELECT details FROM audit_entries WHERE event = 'project.updated' ORDER BY position")
    assert len(rows) == 4
    assert '"cache": {"enabled": true, "ttl_seconds": 600}' in rows[0][0]


async def test_of_two_administrators_at_once_the_second_is_told(weir: RunningWeir) -> None:
    tag = (await call(weir, "GET")).headers["etag"]
    first = await call(weir, "PUT", json={"enabled": True}, headers={"if-match": tag})
    second = await call(weir, "PUT", json={"enabled": False}, headers={"if-match": tag})
    third = await call(weir, "DELETE", headers={"if-match": tag})
    assert [answer.status_code for answer in (first, second, third)] == [200, 412, 412]
    assert (await call(weir, "GET", headers={"if-none-match": first.headers["etag"]})).status_code == 304
    assert (await call(weir, "DELETE", headers={"if-match": first.headers["etag"]})).status_code == 200


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "enabled"),
    ({"enabled": None}, "enabled"),
    ({"enabled": "yes"}, "enabled"),
    ({"enabled": True, "ttl_seconds": 0}, "ttl_seconds"),
    ({"enabled": True, "ttl_seconds": 2_592_001}, "ttl_seconds"),
    ({"enabled": True, "ttl_seconds": 1.5}, "ttl_seconds"),
    ({"enabled": True, "ttl": 5}, "ttl"),
]


@pytest.mark.parametrize(("body", "param"), BAD)
async def test_what_cannot_be_is_refused(weir: RunningWeir, body: dict[str, Any], param: str) -> None:
    answer = await call(weir, "PUT", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert (await call(weir, "GET")).json() == NOTHING


async def test_only_those_who_manage_the_project_may_say_it(weir: RunningWeir) -> None:
    owner = await sign_in(weir, "Ada", "member", proj_default="owner")
    member = await sign_in(weir, "Bob", "member", proj_default="member")
    outsider = await sign_in(weir, "Eve", "member")
    statuses = [
        (await call(weir, "PUT", key=key, json={"enabled": True})).status_code
        for key in (owner.token, member.token, outsider.token, weir.api_key)
    ]
    assert statuses == [200, 403, 404, 403]
    unknown = PATH.replace(DEFAULT_PROJECT_ID, "proj_none")
    assert [(await call(weir, method, unknown)).status_code for method in ("GET", "DELETE")] == [404, 404]


async def test_other_processes_heed_it_at_once(weir: RunningWeir, start_weir: StartWeir) -> None:
    other = await start_weir({})
    body = {"model": "text-embedding-3-small", "input": "Say hello."}

    async def is_heeded() -> bool:
        return "x-weir-cache" in (await call(other, "POST", "/v1/embeddings", weir.api_key, json=body)).headers

    assert not await is_heeded()
    await call(weir, "PUT", json={"enabled": True})
    await until(is_heeded)
