"""Two administrators at once: who changes what somebody else has changed meanwhile is told so, and changes nothing."""

import pytest
from httpx import AsyncClient

from tests.fixtures.signed_in import sign_in
from tests.fixtures.weir import RunningWeir

PROJECTS = "/v1/organization/projects"


async def made(admin: AsyncClient, kind: str, weir: RunningWeir) -> tuple[str, dict[str, str], dict[str, str]]:
    """Make a thing of *kind*; return its path, and two bodies that change it one after the other."""
    project = (await admin.post(PROJECTS, json={"name": "Team"})).json()["id"]
    if kind == "project":
        return f"{PROJECTS}/{project}", {"name": "A"}, {"name": "B"}
    if kind == "service account":
        account = (await admin.post(f"{PROJECTS}/{project}/service_accounts", json={"name": "bot"})).json()["id"]
        return f"{PROJECTS}/{project}/service_accounts/{account}", {"name": "A"}, {"name": "B"}
    person = await sign_in(weir, "Ada")
    added = await admin.post(f"{PROJECTS}/{project}/users", json={"user_id": person.id, "role": "member"})
    assert added.status_code == 200, added.text
    return f"{PROJECTS}/{project}/users/{person.id}", {"role": "owner"}, {"role": "viewer"}


@pytest.mark.parametrize("kind", ["project", "service account", "person"])
async def test_the_loser_of_two_gets_412_and_changes_nothing(weir: RunningWeir, kind: str) -> None:
    async with weir.http(weir.admin_key) as admin:
        path, first, second = await made(admin, kind, weir)
        seen = (await admin.get(path)).headers["etag"]

        won = await admin.post(path, json=first, headers={"if-match": seen})
        lost = await admin.post(path, json=second, headers={"if-match": seen})

        assert won.status_code == 200
        assert (lost.status_code, lost.json()["error"]["code"]) == (412, "precondition_failed")
        now = await admin.get(path)
        assert (now.json(), now.headers["etag"]) == (won.json(), won.headers["etag"])
        ends = f"{path}/archive" if kind == "project" else path
        method = "POST" if kind == "project" else "DELETE"
        assert (await admin.request(method, ends, headers={"if-match": seen})).status_code == 412
        assert (await admin.post(path, json=second, headers={"if-match": f'"other", {now.headers["etag"]}'})).is_success
        assert (await admin.request(method, ends, headers={"if-match": "*"})).status_code == 200


@pytest.mark.parametrize("kind", ["project", "service account", "person"])
async def test_what_is_known_already_is_not_sent_again(weir: RunningWeir, kind: str) -> None:
    async with weir.http(weir.admin_key) as admin:
        path, change, _ = await made(admin, kind, weir)
        tag = (await admin.get(path)).headers["etag"]

        assert (await admin.get(path, headers={"if-none-match": tag})).status_code == 304
        await admin.post(path, json=change)
        assert (await admin.get(path, headers={"if-none-match": tag})).status_code == 200
