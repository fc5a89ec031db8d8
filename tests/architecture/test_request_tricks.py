"""No header and no spelling of a path gets anybody past the door, or makes Weir say what a client wrote."""

import asyncio
from urllib.parse import urlsplit

import pytest

from tests.fixtures.weir import RunningWeir, StartWeir

OVERRIDES = {
    "x-original-url": "/healthz",
    "x-rewrite-url": "/healthz",
    "x-forwarded-uri": "/healthz",
    "x-forwarded-prefix": "/evil",
    "x-forwarded-host": "evil.example.org",
    "x-forwarded-proto": "https",
    "x-forwarded-server": "evil.example.org",
    "x-host": "evil.example.org",
    "forwarded": "host=evil.example.org;for=127.0.0.1",
    "x-forwarded-for": "127.0.0.1",
    "x-real-ip": "127.0.0.1",
    "x-http-method-override": "GET",
    "x-method-override": "DELETE",
    "x-weir-user": "owner",
    "x-forwarded-user": "owner",
    "x-remote-user": "owner",
}


async def raw(weir: RunningWeir, head: str) -> tuple[int, str]:
    """Send bytes as no client library would; return the status and everything that was answered."""
    address = urlsplit(weir.base_url)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(head.replace("\n", "\r\n").encode("latin-1") + b"Connection: close\r\n\r\n")
        answer = (await reader.read()).decode("latin-1")
        writer.close()
        await writer.wait_closed()
    return int(answer.split(" ")[1]), answer


@pytest.mark.parametrize("name", OVERRIDES)
async def test_no_header_opens_a_route_or_chooses_another(weir: RunningWeir, name: str) -> None:
    async with weir.http("") as nobody:
        refused = await nobody.get("/v1/models", headers={name: OVERRIDES[name]})
        page = await nobody.get("/docs", headers={name: OVERRIDES[name]})
    async with weir.http(weir.admin_key) as admin:
        asked = await admin.post("/v1/organization/spend_limit", json={}, headers={name: OVERRIDES[name]})
    assert refused.status_code == 401
    assert (asked.status_code, asked.json()["error"]["code"]) == (400, "missing_required_parameter")
    for answer in (refused, page, asked):
        assert "evil" not in f"{answer.headers} {answer.text}"


async def test_the_host_that_was_forwarded_is_not_the_host(start_weir: StartWeir) -> None:
    weir = await start_weir({"http.trusted_hosts": ("api.example.org",)})
    for host, forwarded, status in (("evil.example.org", "api.example.org", 400), ("api.example.org", "evil", 200)):
        async with weir.http() as client:
            headers = {"host": host, "x-forwarded-host": forwarded, "forwarded": f"host={forwarded}"}
            assert (await client.get("/v1/models", headers=headers)).status_code == status


@pytest.mark.parametrize(
    "target",
    [
        "//v1/models",
        "/./v1/models",
        "/healthz/../v1/models",
        "/healthz/%2e%2e/v1/models",
        "/healthz;/v1/models",
        "/healthz%00/v1/models",
        "/v1%2Fmodels",
        "/V1/models",
        "/v1/models/",
        "/v1//models",
        "/v1/models%20",
        "/v1/models?/healthz",
        "/v1/models#/healthz",
        "http://127.0.0.1/v1/models",
        "http://evil.example.org/v1/models",
        "/docs/../v1/models",
        "/static-offline-docs/../../v1/models",
    ],
)
async def test_no_spelling_of_a_path_answers_without_a_key(weir: RunningWeir, target: str) -> None:
    status, answer = await raw(weir, f"GET {target} HTTP/1.1\nHost: 127.0.0.1\n")
    assert status in (400, 401, 404)
    assert "sim-small" not in answer
    assert "evil" not in answer.partition("\r\n\r\n")[0]


@pytest.mark.parametrize(
    "hosts", ["", "Host: \n", "Host: a\nHost: b\n", "Host: a b\n", "Host: a/v1\n", "Host: a@b\n", "Host: \xff\n"]
)
async def test_a_host_that_is_missing_double_or_malformed_is_refused(weir: RunningWeir, hosts: str) -> None:
    key = f"Authorization: Bearer {weir.api_key}\n"
    status, answer = await raw(weir, f"GET /v1/models HTTP/1.1\n{hosts}{key}")
    assert status == 400
    assert weir.api_key not in answer


async def test_two_credentials_are_none(weir: RunningWeir) -> None:
    keys = f"Authorization: Bearer {weir.api_key}\nAuthorization: Bearer {weir.admin_key}\n"
    status, _ = await raw(weir, f"GET /v1/models HTTP/1.1\nHost: a\n{keys}")
    assert status == 401
