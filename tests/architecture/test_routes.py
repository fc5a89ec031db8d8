"""What is mounted, who may call it, how it is described: nothing is open that the table does not say is open."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import SecretStr
from starlette.routing import Mount, Route

from app.keys.access import Access
from app.main import create_app
from app.routes import ROUTES
from app.settings import Settings
from tests.fixtures.weir import RunningWeir, StartWeir

_PROBED = {"/healthz", "/readyz", "/metrics"}
_SIGN_IN = {"/v1/gateway/auth/token", "/v1/gateway/auth/invites/accept"}
_DESCRIPTIONS = {"/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/static-offline-docs"}
_ENVELOPE = {"message", "type", "param", "code"}
_ORIGIN = "https://app.example.org"

_ALL = [
    (mount.access, f"{mount.prefix}{route.path}", route)
    for mount in ROUTES
    for route in mount.router.routes
    if isinstance(route, APIRoute)
]
_TABLE = [
    (access, path, method)
    for access, path, route in _ALL
    if route.include_in_schema
    for method in sorted(route.methods or ())
]
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def _app() -> FastAPI:
    return create_app(Settings(OPENAI_API_KEY=SecretStr("not used")))


def _paths(app: FastAPI) -> Iterator[str]:
    """Yield the path of everything that *app* answers, the routers that were included among it."""
    for route in app.routes:
        included = getattr(route, "effective_route_contexts", None)
        if included is None:
            assert isinstance(route, (Route, Mount))
            yield route.path
        else:
            # A WebSocket's is that of the plain request beside it, which tells to upgrade.
            yield from (context.path_format for context in included() if context.path_format)


def _filled(path: str) -> str:
    return re.sub(r"{[^}]*}", "sim-small", path)


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return _app().openapi()


def _operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_everything_mounted_is_in_the_table_or_describes_the_api() -> None:
    mounted = {re.sub(r":path}", "}", path) for path in _paths(_app())}
    declared = {re.sub(r":path}", "}", path) for _, path, _ in _ALL}
    assert mounted == declared | _DESCRIPTIONS


def test_every_route_in_the_table_says_who_may_call_it() -> None:
    assert len(_TABLE) >= 7
    assert {access for access, _, _ in _TABLE} <= set(get_args(Access))


def test_only_health_metrics_and_the_door_for_people_are_public() -> None:
    assert {path for access, path, _ in _ALL if access == "public"} == _PROBED | _SIGN_IN


def test_what_weir_has_not_is_mounted_last_and_hides_nothing_real() -> None:
    hidden = [route.include_in_schema for _, _, route in _ALL]
    assert hidden == sorted(hidden, reverse=True)


@pytest.mark.parametrize("method", _METHODS)
async def test_nothing_under_v1_answers_without_a_key(weir: RunningWeir, method: str) -> None:
    async with weir.http("") as client:
        for path in sorted({path for access, path, _ in _TABLE if access != "public"}):
            response = await client.request(method, _filled(path), content=b"{}")
            assert response.status_code in (401, 405), (method, path)


async def test_what_a_route_needs_is_checked_before_its_body_is_read(weir: RunningWeir) -> None:
    async with weir.http("") as client:
        response = await client.post("/v1/chat/completions", content=b"not JSON at all")
    assert response.status_code == 401


def test_the_description_is_valid_openapi_3_1(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) == []


def test_every_operation_is_described_and_secured_as_it_is_mounted(description: dict[str, Any]) -> None:
    declared = {(path.replace(":path}", "}"), method): access for access, path, method in _TABLE}
    described = {(path, method.upper()): operation for path, method, operation in _operations(description)}
    assert described.keys() == declared.keys()
    for route, operation in described.items():
        assert operation["summary"], route
        assert operation["description"], route
        assert ("security" in operation) == (declared[route] != "public"), route
    assert description["components"]["securitySchemes"]["WeirKey"]["scheme"] == "bearer"


def test_every_operation_shows_an_example_and_the_errors_it_can_really_answer(description: dict[str, Any]) -> None:
    models = description["components"]["schemas"]
    for path, method, operation in _operations(description):
        if path in _PROBED:
            continue
        assert "422" not in operation["responses"], (path, method)
        assert ("401" in operation["responses"]) == (path not in _SIGN_IN), (path, method)
        content = next(iter(operation["responses"]["200"]["content"].values()))
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        shown = content if not name else models[name]
        assert {"example", "examples"} & shown.keys(), (path, method)
    chat = description["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]
    assert chat["examples"]


def test_every_example_has_the_shape_that_it_is_an_example_of(description: dict[str, Any]) -> None:
    components = description["components"]
    for name, shape in components["schemas"].items():
        if "example" in shape:
            jsonschema.validate(shape["example"], {"$ref": f"#/components/schemas/{name}", "components": components})


@pytest.mark.parametrize("path", ["/v1/gateway/prices", "/v1/gateway/upstreams"])
async def test_what_the_description_shows_for_a_change_can_be_sent(
    weir: RunningWeir, description: dict[str, Any], path: str
) -> None:
    shown = description["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    example = description["components"]["schemas"][shown.rpartition("/")[2]]["example"]
    assert "valid_from" not in example  # the day would come when that is in the past
    async with weir.http(weir.admin_key) as client:
        answer = await client.post(path, json=example)
        assert answer.status_code == 200, answer.text
        if path.endswith("upstreams"):
            await client.delete(f"{path}/{answer.json()['id']}")


async def test_the_examples_in_the_description_work_as_they_are(
    start_weir: StartWeir, description: dict[str, Any]
) -> None:
    weir = await start_weir({"openai_api_key": None})
    chat = description["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]
    async with weir.http() as client:
        for example in chat["examples"].values():
            response = await client.post("/v1/chat/completions", json=example["value"])
            assert response.status_code == 200, response.text


async def test_the_description_that_is_served_is_the_one_that_was_checked(
    weir: RunningWeir, description: dict[str, Any]
) -> None:
    async with weir.http("") as client:
        response = await client.get("/openapi.json")
    assert response.json() == description


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_pages_load_everything_from_this_server_as_their_policy_demands(weir: RunningWeir, path: str) -> None:
    async with weir.http("") as client:
        page = await client.get(path)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert "'self'" in policy["script-src"]
        assert policy["connect-src"] == "'self'"
        assets = re.findall(r"""<(?:script|link|img)[^>]*?(?:src|href)=["']([^"']+)""", page.text)
        assert any(asset.endswith(".js") for asset in assets)
        for asset in assets:
            assert asset.startswith("/static-offline-docs/"), asset
            loaded = await client.get(asset)
            assert loaded.status_code == 200
            assert len(loaded.content) > 100
    assert "//" not in re.sub(r"<!--.*?-->", "", page.text, flags=re.DOTALL).replace("http://127.0.0.1", "")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/v1", 404, "unknown_url"),
        ("GET", "/v1/", 404, "unknown_url"),
        ("POST", "/v1/chat/completions/", 404, "unknown_url"),
        ("POST", "/v1/nope", 404, "unknown_url"),
        ("GET", "/static-offline-docs/../main.py", 404, "unknown_url"),
        ("GET", "/static-offline-docs/%2e%2e/%2e%2e/main.py", 404, "unknown_url"),
        ("GET", "/v1/embeddings", 405, "method_not_allowed"),
        ("PUT", "/v1/models/sim-small", 405, "method_not_allowed"),
        ("PROPFIND", "/v1/models", 405, "method_not_allowed"),
    ],
)
async def test_unknown_paths_and_methods_answer_in_the_envelope(
    weir: RunningWeir, method: str, path: str, status: int, code: str
) -> None:
    async with weir.http() as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"].keys() == _ENVELOPE
    assert response.json()["error"]["code"] == code
    assert response.headers["x-request-id"]
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/v1/models"])
async def test_head_answers_as_get_does_without_the_body(weir: RunningWeir, path: str) -> None:
    async with weir.http() as client:
        got = await client.get(path)
        head = await client.head(path)
        again = await client.get(path)  # on the same connection: nothing was left in it
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert again.status_code == 200


async def test_head_needs_the_key_that_get_needs(weir: RunningWeir) -> None:
    async with weir.http("") as client:
        response = await client.head("/v1/models")
    assert (response.status_code, response.content) == (401, b"")


async def test_options_lists_what_is_allowed(weir: RunningWeir) -> None:
    async with weir.http() as client:
        response = await client.options("/v1/chat/completions")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def _preflight(weir: RunningWeir) -> httpx.Response:
    headers = {
        "origin": _ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }
    async with weir.http("") as client:
        return await client.options("/v1/chat/completions", headers=headers)


async def test_browsers_of_other_origins_are_kept_out_by_default(weir: RunningWeir) -> None:
    preflight = await _preflight(weir)
    async with weir.http() as client:
        response = await client.get("/v1/models", headers={"origin": _ORIGIN})
    assert preflight.status_code == 405
    for headers in (preflight.headers, response.headers):
        assert not [name for name in headers if name.startswith("access-control-")]


async def test_an_origin_in_the_settings_may_call_and_others_still_may_not(start_weir: StartWeir) -> None:
    weir = await start_weir({"http.cors_origins": (_ORIGIN,)})
    preflight = await _preflight(weir)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == _ORIGIN
    assert "x-stainless-lang" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    async with weir.http() as client:
        allowed = await client.get("/v1/models", headers={"origin": _ORIGIN})
        other = await client.get("/v1/models", headers={"origin": "https://evil.example.org"})
        refused = await client.get("/v1/nope", headers={"origin": _ORIGIN})
    assert allowed.headers["access-control-allow-origin"] == _ORIGIN
    assert "x-request-id" in allowed.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in other.headers
    assert refused.headers["access-control-allow-origin"] == _ORIGIN  # or a page could not read what went wrong


async def test_other_hosts_are_refused_when_the_settings_name_some(start_weir: StartWeir) -> None:
    weir = await start_weir({"http.trusted_hosts": ("api.example.org",)})
    async with weir.http() as client:
        trusted = await client.get("/v1/models", headers={"host": "api.example.org"})
        other = await client.get("/v1/models", headers={"host": "evil.example.org"})
        probe = await client.get("/healthz", headers={"host": "10.0.0.7"})
    assert (trusted.status_code, other.status_code, probe.status_code) == (200, 400, 200)
    assert other.json()["error"].keys() == _ENVELOPE
