"""Responses through a running Weir: exact charges, budgets that hold, every ending of a stream, the background."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import openai
import orjson
import pytest
from openai import AsyncOpenAI

from tests.fixtures.canned import CHUNKED, CannedUpstream, chunk
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, run_weir
from tests.gateway.test_budgeted import make_budget, sent, window
from tests.simulator.wire import Wire

PATH = "/v1/responses"
HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Say hello."}
SEARCH: list[Any] = [{"type": "web_search"}]
CODE: list[Any] = [{"type": "code_interpreter", "container": {"type": "auto"}}]
NANO = 1_000_000_000


async def respond(weir: RunningWeir, **call: Any) -> Any:
    async with weir.openai() as client:
        return await client.responses.create(**{**HELLO, **call})


@pytest.fixture
async def client(weir: RunningWeir) -> AsyncIterator[AsyncOpenAI]:
    async with weir.openai() as client:
        yield client


async def streamed(client: AsyncOpenAI, **call: Any) -> Any:
    return await client.responses.create(**{**HELLO, "stream": True, **call})


async def test_a_response_is_charged_what_the_upstream_says_that_it_used(weir: RunningWeir) -> None:
    script = {"x-simulator": "cached_tokens=2;reasoning_tokens=3"}
    async with weir.openai() as client:
        raw = await client.responses.with_raw_response.create(**HELLO, extra_headers=script)
        stream = await client.responses.create(**HELLO, stream=True, extra_headers=script)
        assert [event.type async for event in stream][-1] == "response.completed"
    entries = await weir.entries()

    for entry, call in zip(entries, weir.arrivals, strict=True):
        assert (entry["ending"], entry["outcome"], entry["operation"]) == ("settled", "completed", "responses")
        counted = (call.prompt_tokens, call.cached_tokens, call.completion_tokens)
        assert (entry["input_tokens"], entry["cached_input_tokens"], entry["output_tokens"]) == counted
        assert entry["reasoning_tokens"] == 3
        assert entry["cost_nano"] == 150 * (counted[0] - 2) + 75 * 2 + 600 * counted[2]
    assert Decimal(raw.headers["x-weir-cost-usd"]) * NANO == entries[0]["cost_nano"]


async def test_calls_of_tools_are_charged_one_by_one(weir: RunningWeir) -> None:
    tools: list[Any] = [*SEARCH, {"type": "file_search", "vector_store_ids": []}]
    tools.append({"type": "code_interpreter", "container": {"type": "auto"}})
    await respond(weir, tools=tools, max_tool_calls=3, max_output_tokens=100)
    [entry] = await weir.entries()
    [call] = weir.arrivals

    assert orjson.loads(entry["other_units"]) == {"web_searches": 1, "file_searches": 1, "code_interpreter_sessions": 1}
    fees = 10_000_000 + 2_500_000 + 30_000_000
    assert entry["cost_nano"] == 150 * call.prompt_tokens + 600 * call.completion_tokens + fees
    assert entry["cost_nano"] <= entry["ceiling_nano"]


async def test_a_container_is_reserved_and_charged_by_its_memory(weir: RunningWeir) -> None:
    for memory_limit in ("1g", "64g"):
        tools: list[Any] = [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": memory_limit}}]
        await respond(weir, tools=tools, max_tool_calls=3, max_output_tokens=100)
    small, big = await weir.entries()

    assert orjson.loads(big["other_units"]) == {"code_interpreter_sessions": 64}
    more_tokens = 150 * (big["input_tokens"] - small["input_tokens"])
    assert big["cost_nano"] - small["cost_nano"] == 63 * 30_000_000 + more_tokens
    assert big["ceiling_nano"] - small["ceiling_nano"] == 3 * 63 * 30_000_000


async def test_a_container_that_the_input_repeats_is_not_charged_again(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    ran = {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_a", "code": "1", "status": "completed"}
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    answer = {"id": "resp_1", "object": "response", "status": "completed", "model": HELLO["model"], "usage": usage}
    canned.answers_json({**answer, "output": [ran]})
    tools: list[Any] = [{"type": "code_interpreter", "container": {"type": "auto"}}]
    await respond(canned_weir, tools=tools)
    await respond(canned_weir, tools=tools, input=[ran, {"role": "user", "content": "Again."}])
    first, second = await canned_weir.entries()

    assert orjson.loads(first["other_units"]) == {"code_interpreter_sessions": 1}
    assert second["other_units"] is None
    assert first["cost_nano"] - second["cost_nano"] == 30_000_000


def ran_in(*containers: str) -> dict[str, Any]:
    """Return a response whose code ran in *containers*."""
    output = [{"type": "code_interpreter_call", "id": f"ci_{each}", "container_id": each} for each in containers]
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    answer = {"id": "resp_1", "object": "response", "status": "completed", "model": HELLO["model"], "usage": usage}
    return {**answer, "output": output}


async def sessions(weir: RunningWeir) -> list[int]:
    """Return how many sessions of containers each call was charged."""
    others = [orjson.loads(entry["other_units"] or "{}") for entry in await weir.entries()]
    return [units.get("code_interpreter_sessions", 0) for units in others]


async def age_sessions(weir: RunningWeir) -> None:
    await weir.sql("UPDATE owned_objects SET created_at = created_at - interval '21 minutes'")


async def test_a_container_that_is_used_again_is_not_charged_again(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers_json(ran_in("cntr_a"))
    for _ in range(2):
        await respond(canned_weir, tools=CODE)
    canned.answers_json(ran_in("cntr_a", "cntr_b"))
    tools = [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}]
    await respond(canned_weir, tools=tools)
    async with run_weir(canned_weir.settings, canned_weir.simulator) as other:
        other.api_key = canned_weir.api_key
        await respond(other, tools=CODE)

    assert await sessions(canned_weir) == [1, 0, 4, 0]


async def test_a_container_is_charged_again_when_its_session_is_over(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers_json(ran_in("cntr_a"))
    await respond(canned_weir, tools=CODE)
    await age_sessions(canned_weir)
    for _ in range(2):
        await respond(canned_weir, tools=CODE)

    assert await sessions(canned_weir) == [1, 1, 0]


async def test_to_look_at_a_response_pays_for_no_container(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers_json({**ran_in(), "status": "queued", "usage": None})
    await respond(canned_weir, tools=CODE, background=True)
    canned.answers_json(ran_in("cntr_a"))
    async with canned_weir.openai() as client:
        await client.responses.retrieve("resp_1")

    async def is_settled() -> bool:
        return len(await canned_weir.entries()) == 1

    await until(is_settled)
    assert await sessions(canned_weir) == [1]


async def test_in_a_stream_a_container_is_paid_for_once(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    last = {"type": "response.completed", "sequence_number": 1, "response": ran_in("cntr_a")}
    canned.answers(CHUNKED, chunk(b"event: response.completed\ndata: " + orjson.dumps(last) + b"\n\n"), chunk(b""))
    async with canned_weir.openai() as client:
        for _ in range(2):
            async for _event in await streamed(client, tools=CODE):
                pass

    assert await sessions(canned_weir) == [1, 0]


async def test_containers_are_paid_for_where_nothing_else_is_known(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers_json({**ran_in("cntr_a"), "usage": None})
    await respond(canned_weir, tools=CODE)

    [entry] = await canned_weir.entries()
    assert entry["ending"] == "estimated"
    assert await sessions(canned_weir) == [1]


async def test_as_many_pass_at_once_as_the_budget_is_for(weir: RunningWeir, client: AsyncOpenAI) -> None:
    call = {**HELLO, "max_output_tokens": 1_000}
    await respond(weir, **call)
    [entry] = await weir.entries()
    await weir.empty()
    weir.simulator.account.reset()
    usd = Decimal(5 * entry["ceiling_nano"] + entry["ceiling_nano"] // 2) / NANO
    await make_budget(weir, str(usd))
    hanging = {"x-simulator": "hang=1"}
    calls = (streamed(client, **call, extra_headers=hanging) for _ in range(20))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    streams = [answer for answer in answers if not isinstance(answer, BaseException)]
    for stream in streams:
        await stream.close()

    assert len(streams) == 5
    assert {type(answer) for answer in answers if isinstance(answer, Exception)} == {openai.RateLimitError}
    assert len(weir.arrivals) == 5


async def test_what_a_budget_needs_is_put_into_the_request(weir: RunningWeir) -> None:
    await make_budget(weir, "10")
    async with weir.openai() as client:
        raw = await client.responses.with_raw_response.create(**HELLO)
        assert sent(weir) == {**HELLO, "max_output_tokens": 16_384}
        assert raw.headers["x-weir-max-output-tokens"] == "16384"
        response = await client.responses.create(**HELLO, tools=SEARCH, max_output_tokens=50)
    assert response.max_tool_calls == 8
    assert sent(weir)["max_output_tokens"] == 50
    spent, reserved = await window(weir)
    assert spent == sum(entry["cost_nano"] for entry in await weir.entries())
    assert reserved == 0


async def test_a_tool_with_a_price_of_its_own_is_refused_under_a_budget_only(weir: RunningWeir) -> None:
    tools: list[Any] = [{"type": "image_generation"}]
    await respond(weir, tools=tools)
    [entry] = await weir.entries()
    assert orjson.loads(entry["other_units"]) == {"images": 1}
    await make_budget(weir, "10")
    with pytest.raises(openai.BadRequestError) as refused:
        await respond(weir, tools=tools)
    assert refused.value.code == "model_not_priced"
    assert len(weir.arrivals) == 1


async def test_going_on_from_a_long_conversation_is_bounded_by_the_context(weir: RunningWeir) -> None:
    first = await respond(weir)
    await make_budget(weir, "1")
    await respond(
        weir, previous_response_id=first.id, max_output_tokens=16, extra_headers={"x-simulator": "prompt_tokens=128000"}
    )
    entry = (await weir.entries())[-1]

    assert entry["input_tokens"] == 128_000
    assert entry["cost_nano"] <= entry["ceiling_nano"]
    assert "overrun" not in entry["flags"]


async def test_a_stream_without_usage_is_counted(weir: RunningWeir, client: AsyncOpenAI) -> None:
    stream = await streamed(client, extra_headers={"x-simulator": "no_usage=1;output_tokens=40"})
    assert [event.type async for event in stream][-1] == "response.completed"
    [entry] = await weir.entries()

    assert (entry["ending"], entry["outcome"]) == ("estimated", "no_usage")
    assert entry["output_tokens"] >= 40


@pytest.mark.parametrize("script", ["cut_after=2", "eof_after=2"])
async def test_a_stream_that_breaks_ends_with_an_error_event(
    weir: RunningWeir, client: AsyncOpenAI, script: str
) -> None:
    seen: list[Any] = []
    stream = await streamed(client, extra_headers={"x-simulator": script})

    async def listen() -> None:
        async for event in stream:
            seen.append(event)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(openai.APIError) as raised:
        await listen()
    [entry] = await weir.entries()

    assert raised.value.type == "upstream_error"
    assert seen[-1].type == "response.output_text.delta"
    assert (entry["ending"], entry["outcome"]) == ("estimated", "upstream_broke")
    assert entry["output_tokens"] > 0


async def test_an_upstreams_own_error_event_is_relayed_as_it_came(weir: RunningWeir, client: AsyncOpenAI) -> None:
    stream = await streamed(client, extra_headers={"x-simulator": "error_after=2"})
    events: list[Any] = [event async for event in stream]
    [entry] = await weir.entries()

    assert (events[-1].type, events[-1].sequence_number) == ("error", events[-2].sequence_number + 1)
    assert (entry["ending"], entry["outcome"]) == ("estimated", "upstream_broke")


async def test_a_caller_who_leaves_a_stream_pays_for_what_was_relayed(weir: RunningWeir, client: AsyncOpenAI) -> None:
    stream = await streamed(client, extra_headers={"x-simulator": "hang=2"})
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    await weir.simulator.account.wait_for_endings(1)
    await until(lambda: weir.wiring.ledger.pending == 0)

    async def is_written() -> bool:
        return len(await weir.entries()) == 1

    await until(is_written)
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "client_left")
    assert [call.ending for call in weir.arrivals] == ["client_left"]


async def test_events_are_relayed_byte_for_byte(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    usage = {"input_tokens": 100, "output_tokens": 10}
    response = {"id": "resp_1", "model": "gpt-4o-mini", "usage": usage, "new": [1.0, {"a": None}]}
    data = b': ping\n\nevent: response.created\ndata: {"type":"response.created", "response": {"id":"resp_1"}}\n\n'
    data += b'event: response.new_kind\ndata: { "type":"response.new_kind" }\r\n\r\n'
    data += (
        b"event: response.completed\ndata: "
        + orjson.dumps({"type": "response.completed", "response": response})
        + b"\n\n"
    )
    canned.answers(CHUNKED, *(chunk(data[at : at + 7]) for at in range(0, len(data), 7)), b"0\r\n\r\n")
    wire = Wire(canned_weir.base_url)
    received = await wire.ask({**HELLO, "stream": True}, PATH, authorization=f"Bearer {canned_weir.api_key}")
    body, rest = b"", received.body
    while not rest.startswith(b"0\r\n"):
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    [entry] = await canned_weir.entries()

    assert body == data
    assert (entry["ending"], entry["input_tokens"], entry["output_tokens"]) == ("settled", 100, 10)


async def test_a_response_in_the_background_is_settled_when_it_is_done(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    response = await respond(weir, background=True, max_output_tokens=500)
    assert (response.status, response.usage) == ("queued", None)
    assert (await window(weir))[1] > 0  # held meanwhile

    async def is_settled() -> bool:
        return len(await weir.entries()) == 1

    await until(is_settled)
    [entry] = await weir.entries()
    made = weir.arrivals[0]
    assert (entry["ending"], entry["outcome"], entry["operation"]) == ("settled", "completed", "responses")
    assert (entry["input_tokens"], entry["output_tokens"]) == (made.prompt_tokens, made.completion_tokens)
    assert await window(weir) == (entry["cost_nano"], 0)


async def test_a_caller_who_leaves_the_stream_of_a_background_response_pays_for_all_of_it(
    weir: RunningWeir, client: AsyncOpenAI
) -> None:
    stream = await streamed(client, background=True, extra_headers={"x-simulator": "hang=2;output_tokens=60"})
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.close()

    async def is_settled() -> bool:
        return len(await weir.entries()) == 1

    await until(is_settled)
    [entry] = await weir.entries()
    assert (entry["ending"], entry["output_tokens"]) == ("settled", 60)


async def test_a_background_response_that_is_deleted_is_charged_all_that_it_could_cost(weir: RunningWeir) -> None:
    endless = {"x-simulator": "background_polls=100000"}
    async with weir.openai() as client:
        response = await client.responses.create(**HELLO, background=True, max_output_tokens=50, extra_headers=endless)
        await client.responses.delete(response.id)

    async def is_settled() -> bool:
        return len(await weir.entries()) == 1

    await until(is_settled)
    [entry] = await weir.entries()
    assert (entry["ending"], entry["flags"]) == ("estimated", ["at_ceiling"])
    assert entry["cost_nano"] == entry["ceiling_nano"] > 0


async def test_a_background_response_that_is_cancelled_is_settled_by_what_it_says(weir: RunningWeir) -> None:
    endless = {"x-simulator": "background_polls=100000"}
    async with weir.openai() as client:
        response = await client.responses.create(**HELLO, background=True, extra_headers=endless)
        assert (await client.responses.cancel(response.id)).status == "cancelled"

    async def is_settled() -> bool:
        return len(await weir.entries()) == 1

    await until(is_settled)
    [entry] = await weir.entries()
    assert (entry["ending"], entry["flags"]) == ("settled", [])


async def test_counting_costs_nothing_under_a_budget_too(weir: RunningWeir) -> None:
    await make_budget(weir, "0")
    async with weir.openai() as client:
        counted = await client.responses.input_tokens.count(**HELLO)
    assert counted.input_tokens > 0
    [entry] = await weir.entries()
    assert (entry["operation"], entry["cost_nano"], entry["ending"]) == ("responses.input_tokens", 0, "settled")


async def test_a_compaction_is_charged(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    async with weir.openai() as client:
        compacted = await client.responses.compact(model="gpt-4o-mini", input="A long story.")
    [entry] = await weir.entries()
    assert entry["operation"] == "responses.compact"
    assert (entry["input_tokens"], entry["output_tokens"]) == (
        compacted.usage.input_tokens,
        compacted.usage.output_tokens,
    )
    assert 0 < entry["cost_nano"] <= entry["ceiling_nano"]


async def test_a_compaction_is_bounded_by_its_model_whatever_maximum_it_names(weir: RunningWeir) -> None:
    async with weir.http() as client:
        for maximum in ({}, {"max_output_tokens": 1}):
            request = {"model": "gpt-4o-mini", "input": "A long story.", **maximum}
            assert (await client.post("/v1/responses/compact", json=request)).status_code == 200
    first, second = await weir.entries()
    assert 0 < first["ceiling_nano"] <= second["ceiling_nano"]
