"""Circuit breakers over HTTP: how they stand, and holding them open or closed, in every process."""

from typing import Any

import httpx
import pytest

from app.core.clock import monotonic_seconds
from app.upstreams.failure import of_failure
from app.upstreams.health import Health
from app.upstreams.routing import Target
from tests.fixtures.upstreams import Managed
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir

MODEL = "gpt-4o-mini"
PATH = f"/v1/gateway/upstreams/openai/breakers/{MODEL}"
HELLO: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}]}


async def force(weir: RunningWeir, state: str, path: str = PATH) -> httpx.Response:
    async with weir.http(weir.admin_key) as client:
        return await client.post(path, json={"state": state})


async def listed(weir: RunningWeir, upstream: str = "") -> list[dict[str, Any]]:
    async with weir.http(weir.admin_key) as client:
        answer = await client.get(f"/v1/gateway/upstreams{upstream}/breakers")
    assert answer.status_code == 200
    assert answer.json()["object"] == "list"
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def chat(weir: RunningWeir) -> int:
    async with weir.http() as client:
        return (await client.post("/v1/chat/completions", json=HELLO)).status_code


def health_of(weir: RunningWeir) -> tuple[Health, Target]:
    breakers = weir.wiring.breakers
    (upstream,) = (each for each in breakers._directory.upstreams if each.name == "openai")
    return breakers._breakers.health, Target(upstream, MODEL)


async def test_a_breaker_is_shown_once_something_was_sent(weir: RunningWeir) -> None:
    assert await listed(weir) == []
    assert await chat(weir) == 200

    (shown,) = await listed(weir, "/openai")
    assert shown == (await listed(weir))[0] | {"since": shown["since"]}  # a moment that is reckoned back from now
    assert {name: shown[name] for name in ("object", "upstream", "model", "state", "mode", "reason", "until")} == {
        "object": "weir.upstream.breaker",
        "upstream": "openai",
        "model": MODEL,
        "state": "closed",
        "mode": "auto",
        "reason": None,
        "until": None,
    }
    assert (shown["calls"], shown["error_rate"], shown["slow_rate"], shown["in_flight"]) == (1, 0.0, 0.0, 0)
    assert shown["first_byte_seconds"] > 0
    assert (shown["is_stalled"], shown["cools_down_until"]) == (False, None)


async def test_one_that_is_open_says_why_and_until_when(weir: RunningWeir) -> None:
    health, target = health_of(weir)
    for is_well in [True] * 3 + [False] * 7:
        now = monotonic_seconds()
        ticket = health.begin(target, now)
        assert ticket is not None
        if is_well:
            ticket.head(now)
        else:
            ticket.failed(of_failure("lost"), now)
        ticket.end()

    (shown,) = await listed(weir)
    assert (shown["state"], shown["mode"]) == ("open", "auto")
    assert shown["reason"] == "7 of 10 calls failed, the last: lost"
    assert shown["since"] < shown["until"] <= shown["since"] + 5
    assert shown["error_rate"] == 0.7


async def test_what_cools_down_says_until_when(weir: RunningWeir) -> None:
    health, target = health_of(weir)
    health.of(target, monotonic_seconds()).breaker.cool_down(monotonic_seconds(), 30.0)

    (shown,) = await listed(weir)
    assert shown["state"] == "closed"
    assert shown["cools_down_until"] > shown["since"] + 29


async def test_an_operator_holds_a_breaker_open_and_lets_it_go(weir: RunningWeir) -> None:
    opened = await force(weir, "open")
    assert (opened.status_code, opened.json()["state"], opened.json()["mode"]) == (200, "open", "open")
    assert (opened.json()["reason"], opened.json()["until"]) == (None, None)
    assert (await force(weir, "open")).json()["mode"] == "open"
    assert await chat(weir) == 503

    assert (await force(weir, "closed")).json()["mode"] == "closed"
    assert await chat(weir) == 200
    assert (await force(weir, "auto")).json()["mode"] == "auto"
    assert (await force(weir, "auto")).json()["mode"] == "auto"
    assert await weir.sql("SELECT * FROM upstream_breakers") == []

    entries = await weir.sql(
        "SELECT resource_id, details FROM audit_entries WHERE event = 'upstream_breaker.updated' ORDER BY position"
    )
    assert [entry["resource_id"] for entry in entries] == ["openai"] * 3
    assert all(f'"{MODEL}"' in entry["details"] for entry in entries)


async def test_a_decision_is_kept_by_every_process(weir: RunningWeir, start_weir: StartWeir) -> None:
    other = await start_weir({})
    await force(weir, "open")
    health, target = health_of(other)
    await until(lambda: health.of(target, monotonic_seconds()).breaker.forced == "open")

    third = await start_weir({})
    assert (await listed(third))[0]["mode"] == "open"
    await force(other, "auto")
    await until(lambda: health_of(weir)[0].of(target, monotonic_seconds()).breaker.forced is None)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/gateway/upstreams/nobody/breakers/gpt-4o-mini", {"state": "open"}, 404),
        (PATH, {"state": "half_open"}, 400),
        (PATH, {}, 400),
        (PATH, {"state": "open", "until": 5}, 400),
    ],
)
async def test_what_cannot_be_decided_is_refused(
    weir: RunningWeir, path: str, body: dict[str, Any], status: int
) -> None:
    async with weir.http(weir.admin_key) as client:
        assert (await client.post(path, json=body)).status_code == status
        assert (await client.get("/v1/gateway/upstreams/nobody/breakers")).status_code == 404


async def test_a_model_that_the_upstream_does_not_serve_has_no_breaker(managed: Managed) -> None:
    made = await managed.add()
    answer = await managed.call("POST", f"/{made['id']}/breakers/gpt-4o-mini", json={"state": "open"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "model")

    answer = await managed.call("POST", f"/{made['id']}/breakers/second-a/b", json={"state": "open"})
    assert (answer.status_code, answer.json()["model"]) == (200, "second-a/b")
    assert (await managed.call("GET", "/second/breakers")).json()["data"][0]["mode"] == "open"
    await managed.call("POST", "/second/breakers/second-a/b", json={"state": "auto"})


async def test_what_was_decided_about_an_upstream_goes_with_it(managed: Managed) -> None:
    made = await managed.add()
    answer = await managed.call("POST", "/second/breakers/second-a", json={"state": "open"})
    assert answer.json()["mode"] == "open"

    assert (await managed.call("DELETE", f"/{made['id']}")).status_code == 200

    assert await managed.weir.sql("SELECT * FROM upstream_breakers") == []


async def test_there_is_a_bound_to_what_can_be_held(weir: RunningWeir) -> None:
    await weir.sql(
        "INSERT INTO upstream_breakers (upstream, model, state) "
        "SELECT 'other', 'm' || n, 'open' FROM generate_series(1, 1000) n"
    )
    answer = await force(weir, "open")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "state")
    await weir.sql("DELETE FROM upstream_breakers WHERE model = 'm1'")
    assert (await force(weir, "open")).status_code == 200
    assert (await force(weir, "closed")).status_code == 200
    assert (await force(weir, "auto")).status_code == 200


async def test_deciding_is_for_those_who_manage_weir(weir: RunningWeir) -> None:
    async with weir.http() as client:
        assert (await client.post(PATH, json={"state": "open"})).status_code == 403
        assert (await client.get("/v1/gateway/upstreams/breakers")).status_code == 403
