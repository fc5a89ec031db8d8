"""`/v1/responses` over a WebSocket: as it is directly, and every `response.create` charged as a POST is."""

from typing import Any

import pytest
from openai import AsyncOpenAI

from app.settings import Settings
from app.simulator.call import Call
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir, run_weir, with_changes, with_upstream
from tests.gateway.socket_wire import RESPONSES, opened
from tests.gateway.test_budgeted import make_budget, window
from tests.gateway.test_realtime import books_agree, entries, limit, nothing_is_held
from tests.gateway.test_realtime_upstreams import Stage, charged, playing

LAST = ("response.completed", "response.incomplete", "response.failed", "error")


def create(text: str = "Say hello.", **request: Any) -> dict[str, Any]:
    return {"type": "response.create", "model": "sim-small", "input": text, **request}


def answers(weir: RunningWeir) -> list[Call]:
    return [call for call in weir.arrivals if call.method != "GET"]


async def converse(client: AsyncOpenAI) -> list[Any]:
    """What a program sees that asks, goes on from the answer, and asks for something that is not there."""
    seen: list[Any] = []
    async with client.responses.connect() as connection:

        async def see() -> Any:
            async for event in connection:
                shown = event.to_dict()
                seen.append([shown.get(name) for name in ("type", "sequence_number", "delta", "text", "status")])
                if event.type in LAST:
                    return event
            return None

        await connection.response.create(model="sim-small", input="Say hello.")
        first = await see()
        seen.append(first.response.usage.to_dict())
        await connection.response.create(
            model="sim-small", input="And again.", previous_response_id=first.response.id, max_output_tokens=5
        )
        second = await see()
        seen.append([second.response.usage.to_dict(), second.response.incomplete_details])
        await connection.response.create(model="sim-small", input=7)  # type: ignore[arg-type]
        seen.append((await see()).error.to_dict())
    return seen


async def test_the_official_sdk_sees_what_it_sees_directly(
    weir: RunningWeir, shared_simulator: tuple[Any, str]
) -> None:
    async with weir.openai() as through, AsyncOpenAI(base_url=shared_simulator[1], api_key=UPSTREAM_KEY) as direct:
        expected = await converse(direct)
        weir.simulator.account.reset()
        assert await converse(through) == expected
    found = await entries(weir)
    assert [(entry["operation"], entry["ending"]) for entry in found] == [
        ("responses", "settled"),
        ("responses", "settled"),
        ("responses", "released"),
    ]
    for entry, call in zip(found, answers(weir), strict=True):
        assert (entry["input_tokens"], entry["output_tokens"]) == (call.prompt_tokens, call.completion_tokens)
        assert entry["request_id"] == found[0]["request_id"]
    await nothing_is_held(weir)


async def test_lanes_are_answered_beside_each_other(weir: RunningWeir) -> None:
    async with opened(weir, RESPONSES, headers={"x-simulator": "tokens_per_second=200"}) as wire:
        await wire.send(*(create(text, stream_id=lane) for lane, text in (("a", "One"), ("b", "Two"), ("a", "Three"))))
        done: list[Any] = []
        while len(done) < 3:
            done.append((await wire.until(*LAST))[-1])
    assert sorted(event["stream_id"] for event in done) == ["a", "a", "b"]
    assert {event["type"] for event in done} == {"response.completed"}
    by_usage = sorted((entry["input_tokens"], entry["output_tokens"]) for entry in await entries(weir))
    assert by_usage == sorted((call.prompt_tokens, call.completion_tokens) for call in answers(weir))
    await nothing_is_held(weir)


async def test_what_weir_refuses_is_an_event_and_the_next_is_answered(weir: RunningWeir) -> None:
    await weir.sql("UPDATE projects SET model_mode = 'allow_list', model_ids = '{sim-small}'")
    await weir.wiring.tenants.model_permissions.load()
    async with opened(weir, RESPONSES) as wire:
        refusals = []
        for event in (
            {"type": "response.stop"},
            create(model="no-such-model-here", stream_id="a"),
            create(background=True),
            create(previous_response_id="resp_of_somebody_else"),
            {"type": "response.steer", "previous_response_id": "resp_1", "input": "No!"},
            create(max_output_tokens="many"),
            b"binary",
            "no json",
            "[1]",
        ):
            await wire.send(event)
            [error] = await wire.until("error")
            refusals.append((error["status"], error["error"]["code"], error.get("stream_id")))
        await wire.send(create())
        await wire.until("response.completed")
        await wire.send({"type": "response.unheard_of"})
        [relayed] = await wire.until("error")
    assert relayed["error"]["message"] == "Invalid event type: 'response.unheard_of'."
    assert refusals == [
        (400, "invalid_value", None),
        (404, "model_not_found", "a"),
        (400, "invalid_value", None),
        (400, "previous_response_not_found", None),
        (404, "not_supported_by_weir", None),
        (400, "invalid_type", None),
        (400, "invalid_json", None),
        (400, "invalid_json", None),
        (400, "invalid_json", None),
    ]
    await books_agree(weir)


async def test_a_response_of_another_project_is_not_there(weir: RunningWeir) -> None:
    async with opened(weir, RESPONSES) as wire:
        await wire.send(create())
        response_id = (await wire.until("response.completed"))[-1]["response"]["id"]
    async with weir.http(weir.admin_key) as admin:
        project = (await admin.post("/v1/organization/projects", json={"name": "other"})).json()["id"]
    other = (await weir.wiring.keys.create("api", "other", project_id=project)).value
    async with opened(weir, RESPONSES, headers={"authorization": f"Bearer {other}"}) as wire:
        await wire.send(create(previous_response_id=response_id))
        [error] = await wire.until("error")
    assert error["error"]["code"] == "previous_response_not_found"


async def test_what_is_not_stored_is_gone_on_with_on_its_own_connection_only(
    weir: RunningWeir, settings: Settings
) -> None:
    named: list[Any] = []

    async def play(stage: Stage) -> None:
        for number in range(2):
            named.append((await stage.hear("response.create")).get("previous_response_id"))
            response = {"id": f"resp_{number}", "status": "completed", "usage": {"input_tokens": 3, "output_tokens": 2}}
            await stage.say(
                {"type": "response.created", "response": {"id": f"resp_{number}", "status": "in_progress"}},
                {"type": "response.completed", "response": response},
            )

    async with playing(settings, weir.simulator, play) as other:
        async with opened(other, RESPONSES) as wire, opened(other, RESPONSES) as another:
            await wire.send(create(store=False))
            await wire.until(*LAST)
            await another.send(create(store=False, previous_response_id="resp_0"))
            [error] = await another.until(*LAST)
            await wire.send(create(store=False, previous_response_id="resp_0"))
            [*_, last] = await wire.until(*LAST)
        assert error["error"]["code"] == "previous_response_not_found"
        assert (last["type"], named) == ("response.completed", [None, "resp_0"])
        assert [entry["ending"] for entry in await charged(other, 2)] == ["settled", "settled"]


async def test_under_a_budget_as_many_pass_as_fit(weir: RunningWeir) -> None:
    await make_budget(weir, "0.0026")
    async with opened(weir, RESPONSES, headers={"x-simulator": "output_tokens=200"}) as wire:
        last: dict[str, Any] = {}
        while last.get("type") != "error":
            await wire.send(create(max_output_tokens=200))
            [*_, last] = await wire.until(*LAST)
    assert (last["status"], last["error"]["code"]) == (429, "insufficient_quota")
    await books_agree(weir)
    found = await weir.entries()
    spent = sum(entry["cost_nano"] for entry in found)
    assert spent - found[-1]["cost_nano"] + found[-1]["ceiling_nano"] <= 2_600_000 < spent + found[-1]["ceiling_nano"]
    assert await window(weir) == (spent, 0)


async def test_under_a_budget_an_answer_without_a_maximum_gets_one(weir: RunningWeir) -> None:
    await make_budget(weir, "0.0030")
    async with opened(weir, RESPONSES, headers={"x-simulator": "output_tokens=10000"}) as wire:
        await wire.send(create())
        [*_, last] = await wire.until(*LAST)
    assert last["type"] == "response.incomplete"
    assert 256 <= last["response"]["max_output_tokens"] < 750
    await books_agree(weir)


async def test_each_answer_counts_as_a_request_in_limits(weir: RunningWeir) -> None:
    await limit(weir, counts="requests", maximum=2)
    async with opened(weir, RESPONSES) as wire:
        for _ in range(2):
            await wire.send(create())
            await wire.until("response.completed")
        await wire.send(create(stream_id="b"))
        [error] = await wire.until("error")
    assert (error["status"], error["error"]["code"], error["stream_id"]) == (429, "rate_limit_exceeded", "b")


@pytest.mark.parametrize(
    ("script", "ending", "outcome"),
    [
        ("cut_after=3", "estimated", "upstream_broke"),
        ("error_after=3", "estimated", "upstream_broke"),
        ("no_usage=1", "estimated", "no_usage"),
        ("status=429", "released", "upstream_refused"),
        ("status=500", "released", "upstream_refused"),
        ("output_tokens=0", "settled", "completed"),
    ],
)
async def test_every_ending_is_charged(weir: RunningWeir, script: str, ending: str, outcome: str) -> None:
    async with opened(weir, RESPONSES, headers={"x-simulator": script}) as wire:
        await wire.send(create())
        [*_, last] = await wire.until(*LAST)
        if script == "cut_after=3":
            assert last["error"]["code"] == "upstream_unreachable"
            assert (await wire.closed())[0] == 1011
    [entry] = await entries(weir)
    assert (entry["ending"], entry["outcome"]) == (ending, outcome)
    await nothing_is_held(weir)


async def test_an_error_about_one_that_has_not_begun_leaves_the_other_alone(weir: RunningWeir) -> None:
    async with opened(weir, RESPONSES, headers={"x-simulator": "tokens_per_second=100"}) as wire:
        await wire.send(create(), create(input=7))
        await wire.until("response.completed")
        [*_, error] = await wire.until("error")
    assert error["status"] == 400
    endings = sorted((entry["ending"], entry["outcome"]) for entry in await entries(weir))
    assert endings == [("released", "upstream_refused"), ("settled", "completed")]


async def test_a_caller_who_leaves_pays_for_what_was_relayed(weir: RunningWeir) -> None:
    async with opened(weir, RESPONSES, headers={"x-simulator": "tokens_per_second=5"}) as wire:
        await wire.send(create())
        await wire.until("response.output_text.delta")
    [entry] = await entries(weir)
    assert (entry["ending"], entry["outcome"]) == ("estimated", "client_left")
    assert entry["output_tokens"] > 0
    await nothing_is_held(weir)


async def test_a_connection_without_a_request_leads_nowhere(weir: RunningWeir) -> None:
    async with opened(weir, RESPONSES):
        pass
    assert weir.arrivals == []


async def test_a_connection_stays_with_the_upstream_of_its_first_request(
    weir: RunningWeir, settings: Settings, shared_simulator: tuple[Any, str]
) -> None:
    """`sim-*` is the built-in simulator's, everything else goes to the upstream from the environment."""
    both = with_changes(with_upstream(settings, shared_simulator[1]), {"simulator.mode": "on"})
    async with run_weir(both, weir.simulator) as other, opened(other, RESPONSES) as wire:
        await wire.send(create(model="gpt-4o-mini"))
        await wire.until("response.completed")
        await wire.send(create(model="sim-small"))
        [error] = await wire.until("error")
        assert (error["error"]["code"], error["error"]["param"]) == ("invalid_value", "model")
        await wire.send(create(model="gpt-4o-mini"))
        await wire.until("response.completed")
    assert len(await entries(weir)) == 2


async def test_what_cannot_be_read_is_relayed_as_it_came(weir: RunningWeir, settings: Settings) -> None:
    async def play(stage: Stage) -> None:
        await stage.hear("response.create")
        await stage.say(b"binary", {"type": "response.created", "stream_id": {}})
        await stage.say({"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}})

    async with playing(settings, weir.simulator, play) as other:
        async with opened(other, RESPONSES) as wire:
            await wire.send(create())
            assert await wire.connection.recv() == b"binary"
            assert (await wire.until("response.completed"))[0]["stream_id"] == {}
        [entry] = await charged(other)
    assert (entry["ending"], entry["outcome"], entry["upstream_request_id"]) == ("estimated", "no_usage", "resp_1")


@pytest.mark.parametrize("lane", [{}, [], 7])
async def test_a_lane_that_has_no_name_is_refused_before_anything_is_held(weir: RunningWeir, lane: Any) -> None:
    await make_budget(weir, "100")
    async with opened(weir, RESPONSES) as wire:
        await wire.send(create(stream_id=lane))
        [*_, error] = await wire.until("error")
        assert (error["error"]["code"], error["error"]["param"]) == ("invalid_type", "stream_id")
        await wire.send(create())
        await wire.until("response.completed")
    await nothing_is_held(weir)
