"""The application as a whole: what is around every route, and how it starts and ends."""

import gzip

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.core.db import DatabaseUnavailable
from app.core.schema import SchemaError
from app.main import create_app
from app.settings import Settings, SettingsError
from tests.fixtures.weir import RunningWeir, StartWeir

_SECRET = "what only operators may know"


@pytest.fixture
async def breaking_weir(start_weir: StartWeir) -> RunningWeir:
    """Run a Weir with one route more, which fails in a way that nobody foresaw."""

    async def fail() -> None:
        raise RuntimeError(_SECRET)

    weir = await start_weir({})
    weir.app.add_api_route("/v1/breaks", fail)
    return weir


def test_settings_come_from_the_environment_unless_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_SERVER__PORT", "none")
    with pytest.raises(SettingsError, match="WEIR_SERVER__PORT"):
        create_app()


async def _start(app: FastAPI) -> None:
    async with app.router.lifespan_context(app):
        raise AssertionError("it started")


async def test_nothing_is_opened_before_the_start_and_a_database_that_is_away_stops_it(settings: Settings) -> None:
    url = SecretStr("postgresql://weir:secret@127.0.0.1:1/weir")
    app = create_app(settings.model_copy(update={"database_url": url}))
    with pytest.raises(DatabaseUnavailable):
        await _start(app)


async def test_a_schema_that_is_behind_stops_the_start(empty_settings: Settings) -> None:
    with pytest.raises(SchemaError, match="run `weir migrate`"):
        await _start(create_app(empty_settings))


async def test_a_bug_is_answered_in_the_envelope_and_says_nothing(breaking_weir: RunningWeir) -> None:
    async with breaking_weir.http() as client:
        response = await client.get("/v1/breaks")
        healthy = await client.get("/healthz")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert _SECRET not in response.text + str(response.headers)
    assert response.headers["x-request-id"].startswith("req_")
    assert healthy.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/v1/models", "/v1/nope", "/v1/breaks"])
async def test_every_answer_has_an_id_and_is_safe_in_a_browser(breaking_weir: RunningWeir, path: str) -> None:
    async with breaking_weir.http() as client:
        headers = (await client.get(path)).headers
    assert headers["x-request-id"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "server" not in headers


async def test_long_answers_are_compressed_for_those_who_ask(weir: RunningWeir) -> None:
    async with weir.http() as client:
        plain = await client.get("/openapi.json", headers={"accept-encoding": "identity"})
        async with client.stream("GET", "/openapi.json", headers={"accept-encoding": "gzip"}) as response:
            body = b"".join([part async for part in response.aiter_raw()])
    assert "content-encoding" not in plain.headers
    assert response.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == plain.content


async def test_event_streams_are_never_compressed(weir: RunningWeir) -> None:
    ask = {"model": "gpt-4o-mini;output_tokens=500", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with weir.http() as client:
        response = await client.post("/v1/chat/completions", json=ask, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in response.headers
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    "path", ["/v1/organization/projects", "/v1/gateway/auth/invites/accept", "/v1/gateway/auth/token"]
)
async def test_a_body_of_the_management_api_is_small_as_it_is_parsed_before_the_key_is_looked_at(
    weir: RunningWeir, path: str
) -> None:
    async with weir.http("") as client:
        fits, too_large = [
            await client.post(path, content=b"[" * size_bytes, headers={"content-type": "application/json"})
            for size_bytes in (262_144, 262_145)
        ]
    assert fits.status_code == 400
    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_call_that_is_to_be_explained_may_be_as_large_as_one(weir: RunningWeir) -> None:
    ask = {"model": "sim-small", "messages": [{"role": "user", "content": "Hello. " * 50_000}], "max_tokens": 1}
    async with weir.http() as client:
        assert (await client.post("/v1/gateway/explain", json=ask)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "application/json"}, b"x" * 2_049, 413),
        ({"x-many": "x" * 40_000}, b"{}", 431),
        ({"host": "other host"}, b"{}", 400),
    ],
    ids=["body", "headers", "host"],
)
async def test_what_is_too_much_is_refused_before_the_key_is_looked_at(
    start_weir: StartWeir, headers: dict[str, str], body: bytes, status: int
) -> None:
    weir = await start_weir({"http.body_size_bytes_max": 2_048})
    async with weir.http("") as client:
        response = await client.post("/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == status
    assert response.json()["error"].keys() == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"]
