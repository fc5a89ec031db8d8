"""Aliases are models like others: listed, and described by what is behind them. All that there is here is managed."""

from typing import Any

import pytest

from tests.fixtures.canned import CannedUpstream
from tests.fixtures.upstreams import SECOND_KEY, Managed
from tests.fixtures.weir import RunningWeir, StartWeir

THEIRS = {"id": "our-gpt", "object": "model", "created": 7, "owned_by": "acme", "extra": [1]}


@pytest.fixture
async def alone(managed: Managed, start_weir: StartWeir) -> Managed:
    """A Weir without any upstream from the environment."""
    changes = {"upstreams.allow_private_addresses": True, "openai_api_key": None, "simulator.mode": "off"}
    weir = await start_weir(changes)
    weir.api_key, weir.admin_key = managed.weir.api_key, managed.weir.admin_key
    return Managed(weir, managed.second, managed.second_url)


async def get(managed: Managed, path: str) -> Any:
    async with managed.weir.http() as client:
        answer = await client.get(path)
    return answer.json() if answer.status_code == 200 else (answer.status_code, answer.json()["error"]["code"])


async def test_an_alias_is_listed_with_all_that_is_said_of_the_model_behind_it(
    alone: Managed, canned: CannedUpstream, canned_weir: RunningWeir
) -> None:
    canned.answers_json({"data": [THEIRS, {"id": "alias-of-unknown"}, {"id": "not-served"}]})
    await alone.add(
        base_url=canned_weir.settings.openai_base_url,
        models=["our-*"],
        aliases={"alias-of-known": "our-gpt", "alias-of-unknown": "hidden"},
    )

    assert {model["id"]: model for model in (await get(alone, "/v1/models"))["data"]} == {
        "our-gpt": THEIRS,
        "alias-of-known": {**THEIRS, "id": "alias-of-known"},
        "alias-of-unknown": {"id": "alias-of-unknown", "object": "model", "created": 0, "owned_by": "second"},
    }


@pytest.mark.parametrize("is_known", [True, False])
async def test_an_alias_is_described_by_the_model_behind_it(
    alone: Managed, canned: CannedUpstream, canned_weir: RunningWeir, is_known: bool
) -> None:
    base_url = canned_weir.settings.openai_base_url
    await alone.add(base_url=base_url, models=[], aliases={"an-alias": "our/gpt"}, test=False)
    canned.answers_json(THEIRS, 200 if is_known else 404)

    described = await get(alone, "/v1/models/an-alias")

    assert (described["id"], described["owned_by"]) == ("an-alias", "acme" if is_known else "second")
    [request] = canned.requests
    assert request.startswith(b"GET /v1/models/our%2Fgpt HTTP/1.1")


async def test_a_model_is_looked_for_at_every_upstream_that_may_have_it(
    alone: Managed, canned: CannedUpstream, canned_weir: RunningWeir
) -> None:
    await alone.add(name="first", base_url=canned_weir.settings.openai_base_url, models=["*"], test=False)

    for status, expected in ((404, (404, "model_not_found")), (500, (502, "upstream_unreachable")), (200, THEIRS)):
        canned.answers_json(THEIRS, status)
        assert await get(alone, "/v1/models/gpt-4o") == expected

    await alone.add(models=["gpt-4o"])
    for status, owner in ((404, "simulator"), (500, "simulator"), (200, "acme")):
        canned.answers_json(THEIRS, status)
        assert (await get(alone, "/v1/models/gpt-4o"))["owned_by"] == owner


@pytest.mark.parametrize("provider", ["openai", "azure"])
async def test_an_upstream_without_a_credential_is_asked_without_one(
    alone: Managed, canned: CannedUpstream, canned_weir: RunningWeir, provider: str
) -> None:
    canned.answers_json({"data": [{"id": "second-model"}]})
    await alone.add(base_url=canned_weir.settings.openai_base_url, provider=provider, api_key=None)
    assert [model["id"] for model in (await get(alone, "/v1/models"))["data"]] == ["second-model"]
    assert len(canned.requests) == 2
    for request in canned.requests:
        assert b"authorization" not in request.lower()
        assert b"api-key" not in request.lower()


async def test_the_callers_own_credential_never_reaches_an_upstream_and_the_upstreams_does(
    alone: Managed, canned: CannedUpstream, canned_weir: RunningWeir
) -> None:
    canned.answers_json({"data": []})
    await alone.add(base_url=canned_weir.settings.openai_base_url, provider="azure", test=False)
    async with alone.weir.http() as client:
        await client.get("/v1/models", headers={"api-key": "planted"})
    [request] = canned.requests
    assert alone.weir.api_key.encode() not in request
    assert b"planted" not in request
    assert f"api-key: {SECOND_KEY}\r\n".encode() in request
