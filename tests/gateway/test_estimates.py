"""What is charged for an answer that broke before it said what it used: everything that was relayed and has a price."""

from collections.abc import Iterator
from typing import Any

import openai
import orjson
import pytest
from openai import AsyncOpenAI

from app.gateway.operations.images import ImageGenerations
from tests.fixtures.canned import CHUNKED, LAST_CHUNK, CannedUpstream, chunk, event
from tests.fixtures.weir import RunningWeir

IMAGE_USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 10},
    "output_tokens": 272,
    "total_tokens": 282,
}
DRAWING = {"model": "gpt-image-1", "prompt": "p", "partial_images": 2, "size": "1024x1024", "quality": "low"}
CREATED = {"id": "resp_1", "object": "response", "status": "in_progress", "model": "gpt-5-mini", "output": []}


def named(kind: str, **members: Any) -> bytes:
    return chunk(b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **members})))


def picture(kind: str, **members: Any) -> bytes:
    return named(f"image_generation.{kind}", b64_json="A" * 4_000, **members)


def piece(delta: dict[str, Any], model: str = "gpt-4o") -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return chunk(
        event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]})
    )


async def streamed(weir: RunningWeir, path: str, **body: Any) -> list[str]:
    """Return the types of the events of a stream that is asked for with the SDK's own client; raises APIError."""
    async with weir.openai() as client:
        method: Any = client
        for name in path.split("."):
            method = getattr(method, name)
        return [
            each.type for each in [each async for each in await method(stream=True, **body)] if hasattr(each, "type")
        ]


async def test_an_estimate_is_in_the_tier_that_was_asked_for(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers(CHUNKED, piece({"content": "hello " * 1_000}))
    for tier in ("default", "priority", "flex"):
        with pytest.raises(openai.APIError):
            await streamed(
                canned_weir, "chat.completions.create", model="gpt-4o", messages=[{"role": "user", "content": "x"}],
                service_tier=tier,
            )  # fmt: skip

    default, priority, flex = await canned_weir.entries()
    assert {entry["ending"] for entry in (default, priority, flex)} == {"estimated"}
    assert priority["cost_nano"] == default["cost_nano"] * 17 // 10
    assert priority["price_id"].startswith("gpt-4o/priority/")
    assert flex["cost_nano"] == default["cost_nano"]


@pytest.mark.parametrize(
    ("delta", "tokens", "sound"),
    [
        ({"audio": {"id": "a", "data": "A" * 64_000, "transcript": "hello " * 50}}, 95, 20),
        ({"function_call": {"name": "f", "arguments": "x" * 400}}, 101, 0),
    ],
)
async def test_sound_and_calls_of_functions_are_counted(
    canned_weir: RunningWeir, canned: CannedUpstream, delta: dict[str, Any], tokens: int, sound: int
) -> None:
    canned.answers(CHUNKED, piece(delta, "gpt-audio"))
    messages = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.APIError):
        await streamed(canned_weir, "chat.completions.create", model="gpt-audio", messages=messages)

    [entry] = await canned_weir.entries()
    assert (entry["output_tokens"], entry["output_audio_tokens"]) == (tokens, sound)
    assert entry["cost_nano"] > sound * 64_000


async def test_calls_of_tools_are_paid_for_in_a_response_that_broke(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    def items() -> Iterator[dict[str, Any]]:
        for number in range(5):
            yield {"type": "web_search_call", "id": f"ws_{number}", "status": "completed", "action": {"type": "search"}}
        yield {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1", "status": "completed"}

    canned.answers(
        CHUNKED,
        named("response.created", response=CREATED),
        *(named("response.output_item.done", output_index=index, item=item) for index, item in enumerate(items())),
        named("response.output_text.delta", item_id="msg", output_index=7, content_index=0, delta="hello"),
    )
    tools = [{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}]
    with pytest.raises(openai.APIError):
        await streamed(canned_weir, "responses.create", model="gpt-5-mini", input="x", tools=tools)

    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "upstream_broke")
    assert orjson.loads(entry["other_units"]) == {"web_searches": 5, "code_interpreter_sessions": 1}
    assert entry["cost_nano"] > 80_000_000


async def draw(weir: RunningWeir, images: int) -> list[str]:
    return await streamed(weir, "images.generate", **DRAWING, n=images)


async def test_an_image_that_was_begun_is_paid_for_beside_those_that_are_finished(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    partial, finished = picture("partial_image", partial_image_index=0), picture("completed", usage=IMAGE_USAGE)
    canned.answers(CHUNKED, partial, finished, partial)  # and its connection is cut
    with pytest.raises(openai.APIError):
        await draw(canned_weir, 2)

    canned.answers(CHUNKED, partial, finished, partial, finished, LAST_CHUNK)
    assert (await draw(canned_weir, 2)).count("image_generation.completed") == 2
    broken, whole = await canned_weir.entries()
    assert (broken["ending"], broken["outcome"]) == ("estimated", "upstream_broke")
    assert (whole["ending"], whole["output_tokens"]) == ("settled", 2 * 272)
    assert broken["input_tokens"] == 10
    begun = ImageGenerations().read(orjson.dumps(DRAWING), {}).output_tokens_expected
    assert broken["output_tokens"] == 272 + (begun or 0)


async def test_an_upstream_may_make_fewer_images_than_were_asked_for(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers(CHUNKED, picture("partial_image"), picture("completed", usage=IMAGE_USAGE), LAST_CHUNK)
    assert (await draw(canned_weir, 3))[-1] == "image_generation.completed"

    [entry] = await canned_weir.entries()
    assert (entry["ending"], entry["outcome"], entry["output_tokens"]) == ("settled", "completed", 272)


async def test_where_nobody_can_say_the_most_an_estimate_counts_and_nothing_is_overrun(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    ask: Any = {"model": "gpt-5-mini", "input": "x" * 4_000, "tools": [{"type": "image_generation"}]}
    async with canned_weir.openai() as client:
        await _respond(client, canned, {**CREATED, "status": "completed", "usage": usage}, ask)
        canned.answers(
            CHUNKED,
            named("response.created", response=CREATED),
            named("response.output_text.delta", item_id="m", output_index=0, content_index=0, delta="hello " * 10_000),
        )
        with pytest.raises(openai.APIError):
            await streamed(canned_weir, "responses.create", **ask)

    whole, broken = await canned_weir.entries()
    assert (whole["ceiling_nano"], whole["flags"]) == (0, [])
    assert (broken["ending"], broken["output_tokens"]) == ("estimated", 15_000)
    assert broken["cost_nano"] > 15_000 * 2_000


async def _respond(client: AsyncOpenAI, canned: CannedUpstream, response: dict[str, Any], ask: Any) -> None:
    canned.answers_json(response)
    await client.responses.create(**ask)


async def test_the_last_event_of_a_response_may_have_large_pictures_in_it(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    image = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "A" * 17_000_000}
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    last = {**CREATED, "status": "completed", "output": [image], "usage": usage}
    canned.answers(
        CHUNKED, named("response.created", response=CREATED), named("response.completed", response=last), LAST_CHUNK
    )
    types = await streamed(canned_weir, "responses.create", model="gpt-5-mini", input="x")

    assert types == ["response.created", "response.completed"]
