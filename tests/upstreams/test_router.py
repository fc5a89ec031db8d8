"""The list of models, and one of them, over the socket."""

import asyncio
from typing import Any

import pytest

from app.upstreams import service
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.simulator.wire import Wire

ODD = {"id": "org/model:7b", "object": "model", "created": None, "owned_by": 5, "new": {"x": [1.5]}}


async def test_the_official_sdk_lists_and_gets_models(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        listed = [model async for model in client.models.list()]
        got = await client.models.retrieve("gpt-4o-mini")
    assert {"sim-small", "sim-large"} & {model.id for model in listed}
    assert got.id == "gpt-4o-mini"
    assert not await weir.entries()


async def test_models_come_back_with_every_field_valid_or_not(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers_json({"object": "list", "new": 1, "data": [ODD, {"id": 5}, "nonsense", {"id": "b"}, ODD]})
    async with canned_weir.http() as client:
        listed = await client.get("/v1/models")
        canned.answers_json(ODD)
        got = await client.get("/v1/models/org/model:7b")
    assert listed.json() == {"object": "list", "data": [ODD, {"id": "b"}]}
    assert (got.json(), got.headers["content-type"]) == (ODD, "application/json")


@pytest.mark.parametrize(
    ("path", "upstream_path"),
    [
        ("gpt-4o-mini", b"gpt-4o-mini"),
        ("org%2Fmodel%3A7b", b"org%2Fmodel:7b"),
        ("org/model:7b", b"org%2Fmodel:7b"),
        ("ft:gpt-4o:acme::x%25y", b"ft:gpt-4o:acme::x%25y"),
        ("..%2F..%2Fadmin", b"..%2F..%2Fadmin"),
        ("a%09%1B%20HTTP/1.1", b"a%09%1B%20HTTP%2F1.1"),
        ("%E6%97%A5%3Fq%23", b"%E6%97%A5%3Fq%23"),
    ],
)
async def test_a_models_name_stays_one_segment_of_the_upstreams_path(
    canned_weir: RunningWeir, canned: CannedUpstream, path: str, upstream_path: bytes
) -> None:
    canned.answers_json(ODD)
    wire = Wire(canned_weir.base_url)
    received = await wire.ask(b"", f"/v1/models/{path}", method="GET", authorization=f"Bearer {canned_weir.api_key}")
    assert received.status == 200
    [request] = canned.requests
    assert request.split(b"\r\n")[0] == b"GET /v1/models/%b HTTP/1.1" % upstream_path


@pytest.mark.parametrize("path", ["", ".", "..", "%2E%2E", "..."])
async def test_a_name_that_leads_elsewhere_is_no_model(weir: RunningWeir, path: str) -> None:
    received = await Wire(weir.base_url).ask(
        b"", f"/v1/models/{path}", method="GET", authorization=f"Bearer {weir.api_key}"
    )
    assert received.status == 404
    assert b"model_not_found" in received.body
    assert not weir.arrivals


async def test_a_name_that_is_too_long_is_refused(weir: RunningWeir) -> None:
    async with weir.http() as client:
        answer = await client.get(f"/v1/models/{'planted' * 40}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    assert "planted" not in answer.text


async def test_only_a_valid_key_sees_models_and_an_admin_key_does_too(weir: RunningWeir) -> None:
    async with weir.http("") as nobody, weir.http(weir.admin_key) as admin:
        for path in ("/v1/models", "/v1/models/gpt-4o-mini"):
            assert (await nobody.get(path)).status_code == 401
            assert (await admin.get(path)).status_code == 200


async def test_a_model_that_the_upstream_does_not_have_is_not_found(weir: RunningWeir) -> None:
    headers = {"x-simulator": "status=404"}
    async with weir.http() as client:
        answer = await client.get("/v1/models/gpt-none", headers=headers)
        listed = await client.get("/v1/models", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert (listed.status_code, listed.json()["error"]["code"]) == (502, "upstream_unreachable")


@pytest.mark.parametrize("script", ["status=401", "status=401;malformed=html"])
async def test_a_refused_credential_is_told_as_such(weir: RunningWeir, script: str) -> None:
    async with weir.http() as client:
        answer = await client.get("/v1/models/gpt-4o", headers={"x-simulator": script})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_authentication_failed")


@pytest.mark.parametrize(
    "script", ["status=500", "status=401", "status=307", "malformed=json", "malformed=html", "cut_after=0"]
)
async def test_an_upstream_that_cannot_list_its_models_is_a_bad_gateway(weir: RunningWeir, script: str) -> None:
    async with weir.http() as client:
        answer = await client.get("/v1/models", headers={"x-simulator": script})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")


@pytest.mark.parametrize("document", [[], "text", {"data": "text"}, {"no": "data"}])
async def test_a_list_that_is_none_is_a_bad_gateway(
    canned_weir: RunningWeir, canned: CannedUpstream, document: Any
) -> None:
    canned.answers_json(document)
    async with canned_weir.http() as client:
        answer = await client.get("/v1/models")
    assert answer.status_code == 502


async def test_the_models_of_several_upstreams_are_one_list_and_calls_go_to_who_serves_them(
    start_weir: StartWeir, canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers_json({"data": [{"id": "sim-small", "owned_by": "the second"}, {"id": "gpt-4o"}]})
    both = await start_weir({"simulator.mode": "on", "openai_base_url": canned_weir.settings.openai_base_url})
    async with both.http() as client:
        models = {model["id"]: model for model in (await client.get("/v1/models")).json()["data"]}
        mine = await client.get("/v1/models/sim-small")
    assert set(models) == {"sim-small", "sim-large", "sim-embedding", "gpt-4o"}
    assert models["sim-small"]["owned_by"] == mine.json()["owned_by"] == "simulator"


@pytest.mark.parametrize("is_hanging", [False, True], ids=["away", "hanging"])
async def test_an_upstream_that_does_not_answer_does_not_hide_the_models_of_another(
    start_weir: StartWeir,
    canned_weir: RunningWeir,
    canned: CannedUpstream,
    monkeypatch: pytest.MonkeyPatch,
    is_hanging: bool,
) -> None:
    monkeypatch.setattr(service, "_MODELS_TIMEOUT_SECONDS", 0.2)
    never = asyncio.Event()
    canned.answers(*([never] if is_hanging else []))
    both = await start_weir({"simulator.mode": "on", "openai_base_url": canned_weir.settings.openai_base_url})
    try:
        async with asyncio.timeout(20), both.http() as client:
            listed = await client.get("/v1/models")
            unreachable = await client.get("/v1/models/gpt-4o")
    finally:
        never.set()
    assert [model["id"] for model in listed.json()["data"]] == ["sim-small", "sim-large", "sim-embedding"]
    assert (unreachable.status_code, unreachable.json()["error"]["code"]) == (502, "upstream_unreachable")


async def test_without_any_upstream_of_its_own_only_the_simulators_models_answer(start_weir: StartWeir) -> None:
    alone = await start_weir({"openai_api_key": None})
    document = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say hello."}]}
    async with alone.http() as client:
        refused = await client.post("/v1/chat/completions", json=document)
        unknown = await client.get("/v1/models/gpt-4o")
        served = await client.post("/v1/chat/completions", json={**document, "model": "sim-small"})
    for answer in (refused, unknown):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_upstream")
        assert "OPENAI_API_KEY" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
    assert served.status_code == 200
