"""Responses in the background at upstreams that fail, forget, or never get done: each is charged in the end."""

from typing import Any

import pytest

from app.gateway import follow_up_service
from app.version import VERSION
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.upstreams import SECOND_KEY, Managed
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, run_weir

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Say hello.", "background": True, "max_output_tokens": 100}
QUEUED: dict[str, Any] = {"id": "resp_1", "object": "response", "status": "queued", "usage": None, "output": []}
TEXT = [{"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "abcd" * 7}]}]


async def ask(weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers_json(QUEUED)
    async with weir.http() as client:
        assert (await client.post("/v1/responses", json=ASK)).status_code == 200


async def settled(weir: RunningWeir) -> dict[str, Any]:
    async def is_settled() -> bool:
        return len(await weir.entries()) == 1

    await until(is_settled)
    [entry] = await weir.entries()
    return entry


async def test_an_upstream_that_fails_meanwhile_is_asked_again(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    await ask(canned_weir, canned)
    canned.answers_json({"error": {"message": "Busy."}}, 500)
    await until(lambda: len(canned.requests) > 0)
    canned.answers()
    await until(lambda: len(canned.requests) > 0)
    usage = {"input_tokens": 100, "output_tokens": 10}
    canned.answers_json({**QUEUED, "status": "completed", "usage": usage, "model": "gpt-4o-mini-2024-07-18"})
    entry = await settled(canned_weir)

    assert (entry["ending"], entry["cost_nano"]) == ("settled", 100 * 150 + 10 * 600)
    assert entry["answered_model"] == "gpt-4o-mini-2024-07-18"
    for request in canned.requests:
        assert request.startswith(b"GET /v1/responses/resp_1 ")
        assert f"\r\nuser-agent: weir/{VERSION}\r\n".encode() in request.lower()


async def test_a_response_that_ended_without_usage_is_counted(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    await ask(canned_weir, canned)
    canned.answers_json({**QUEUED, "status": "failed", "output": TEXT})
    entry = await settled(canned_weir)

    assert (entry["ending"], entry["outcome"], entry["output_tokens"]) == ("estimated", "no_usage", 7)


async def test_a_response_that_never_gets_done_is_given_up(
    canned_weir: RunningWeir, canned: CannedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_up_service, "_SECONDS_PER_HOUR", 0)
    await ask(canned_weir, canned)
    entry = await settled(canned_weir)

    assert entry["flags"] == ["at_ceiling"]
    assert entry["cost_nano"] == entry["ceiling_nano"]


async def test_more_than_can_be_followed_are_charged_at_once(
    canned_weir: RunningWeir, canned: CannedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_up_service, "_FOLLOWED_MAX", 0)
    await ask(canned_weir, canned)

    assert (await settled(canned_weir))["flags"] == ["at_ceiling"]


async def test_an_upstream_is_asked_with_the_credential_that_it_has_by_now(managed: Managed) -> None:
    upstream = await managed.add()
    body = {**ASK, "model": "second-model"}
    async with managed.weir.http() as client:
        answer = await client.post("/v1/responses", json=body, headers={"x-simulator": "background_polls=1"})
        assert answer.status_code == 200
    managed.second._api_key = "sk-renewed"
    try:
        changed = await managed.call("PATCH", f"/{upstream['id']}", json={"api_key": "sk-renewed"})
        assert changed.status_code == 200, changed.text
        entry = await settled(managed.weir)
    finally:
        managed.second._api_key = SECOND_KEY

    assert (entry["ending"], entry["outcome"]) == ("settled", "completed")


async def test_what_a_weir_that_stops_was_following_is_charged_by_another(weir: RunningWeir) -> None:
    async with run_weir(weir.settings, weir.simulator) as stopping, stopping.http(weir.api_key) as client:
        headers = {"x-simulator": "background_polls=100000"}
        assert (await client.post("/v1/responses", json=ASK, headers=headers)).status_code == 200
    entry = await settled(weir)

    assert (entry["ending"], entry["outcome"]) == ("orphaned", "process_died")
    assert entry["cost_nano"] == entry["ceiling_nano"] > 0


async def test_a_response_that_nobody_can_ask_about_is_estimated_at_once(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers_json({name: value for name, value in QUEUED.items() if name != "id"})
    async with canned_weir.http() as client:
        assert (await client.post("/v1/responses", json=ASK)).status_code == 200

    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "no_usage")
    assert entry["cost_nano"] > 0
