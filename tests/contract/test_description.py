"""Whatever is asked, by whomever: no 5xx, no status and no shape that the API description does not have."""

from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from app.main import create_app
from app.settings import Settings
from tests.architecture.test_access_walk import ENDINGS, TABLE, Cast, cast
from tests.contract.made_up import MakeUp

__all__ = ["cast"]

CALLERS: Final = ("admin key", "API key", "project owner", "viewer", "nobody")
ROUNDS: Final = 4
OPERATIONS: Final = [(path.replace(":path}", "}"), method.lower()) for _, path, method in TABLE if path not in ENDINGS]
Description = dict[str, Any]


@pytest.fixture(scope="module")
def description() -> Description:
    return create_app(Settings()).openapi()


def request(make_up: MakeUp, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a request for *operation*, save the method."""
    query: dict[str, Any] = {}
    headers: dict[str, str] = {}
    for parameter in operation.get("parameters", ()):
        value = make_up.value(parameter["schema"])
        where, name = parameter["in"], parameter["name"]
        if where == "path":
            known = "proj_mine" if name == "project_id" and make_up.often() else str(value)
            path = path.replace(f"{{{name}}}", quote(known, safe="") or "x")
        elif where == "query" and (parameter.get("required") or make_up.rarely()):
            query[name] = value if isinstance(value, list) else str(value)
        elif where == "header" and make_up.often():
            headers[name] = str(value).encode("ascii", "ignore").decode().replace("\x00", "").strip()[:200]
    made: dict[str, Any] = {"url": path, "params": query, "headers": headers}
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        made["json"] = make_up.value(content["application/json"].get("schema", {}))
    elif "application/x-www-form-urlencoded" in content:
        body = make_up.value(content["application/x-www-form-urlencoded"]["schema"])
        made["data"] = {name: str(value) for name, value in body.items()} if isinstance(body, dict) else {}
    return made


def breaches(response: httpx.Response, described: dict[str, Any], components: dict[str, Any]) -> list[str]:
    """Return what *response* has that none of the responses that are *described* has."""
    status = str(response.status_code)
    if status >= "500":
        return [f"{status}: {response.text[:300]}"]
    answer = described.get(status) or described.get(f"{status[0]}XX")
    if answer is None:
        return [f"{status} is not described: {response.text[:300]}"]
    kind = response.headers.get("content-type", "").partition(";")[0]
    content = answer.get("content", {})
    if content and kind not in content:
        return [f"{kind} is not described for {status}"]
    schema = content.get("application/json", {}).get("schema")
    if kind != "application/json" or not schema:
        return []
    validator = Draft202012Validator({**schema, "components": components})
    return [f"{status} {error.json_path}: {error.message[:300]}" for error in validator.iter_errors(response.json())]


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda part: str(part).replace("/", "_"))
async def test_an_operation_answers_as_it_is_described(
    cast: Cast, description: Description, path: str, method: str
) -> None:
    operation, components = description["paths"][path][method], description["components"]
    found = []
    for name in CALLERS:
        make_up = MakeUp(components["schemas"], f"{method} {path} {name}")
        client = cast.nobody if name == "nobody" else cast.clients[name]
        for _ in range(1 if name == "nobody" else ROUNDS):
            made = request(make_up, path, operation)
            response = await client.request(method.upper(), **made)
            found += [f"{name}: {each}\n  {made}" for each in breaches(response, operation["responses"], components)]
    assert not found, "\n".join(found)


def test_what_is_not_described_is_seen(description: Description) -> None:
    described = description["paths"]["/v1/organization/audit_logs"]["get"]["responses"]
    page: dict[str, Any] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert not breaches(httpx.Response(200, json=page), described, description["components"])
    for response in (
        httpx.Response(500, json={}),
        httpx.Response(302),
        httpx.Response(200, text="hello"),
        httpx.Response(200, json=page | {"has_more": None}),
        httpx.Response(400, json={"detail": "no envelope"}),
    ):
        assert breaches(response, described, description["components"]), response
