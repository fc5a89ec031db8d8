"""Images: real PNG files, billed by tokens or by the image, whole and in events."""

import base64
import warnings
from typing import Any

import orjson
import pytest
from openai import AsyncOpenAI

from app.simulator.app import Simulator
from tests.simulator.wire import Wire

PATH = "/v1/images/generations"
PNG = ("a.png", b"\x89PNG", "image/png")
ASK: dict[str, Any] = {"model": "sim-image", "prompt": "A heron on a weir"}


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({}, 1_056),
        ({"quality": "low"}, 272),
        ({"quality": "high", "size": "1024x1536"}, 6_240),
        ({"quality": "high", "size": "1536x1024", "n": 2}, 12_416),
        ({"quality": "medium", "size": "auto"}, 1_056),
    ],
)
async def test_an_image_has_as_many_tokens_as_openai_says(
    client: AsyncOpenAI, simulator: Simulator, changes: dict[str, Any], tokens: int
) -> None:
    answer = await client.images.generate(**{**ASK, **changes})

    assert answer.usage
    assert answer.data
    [call] = simulator.account.calls
    count = changes.get("n", 1)
    assert answer.usage.output_tokens == call.completion_tokens == call.completion_tokens_sent == tokens
    assert answer.usage.input_tokens == call.prompt_tokens == 5 * count
    assert len(answer.data) == call.images == count
    assert base64.b64decode(answer.data[0].b64_json or "").startswith(b"\x89PNG\r\n\x1a\n")


async def test_a_dall_e_is_billed_by_the_image_and_gives_an_address(client: AsyncOpenAI, simulator: Simulator) -> None:
    answer = await client.images.generate(**{**ASK, "model": "sim-dall-e"}, n=2)

    assert answer.usage is None
    assert [(image.url or "")[:22] for image in answer.data or ()] == ["data:image/png;base64,"] * 2
    [call] = simulator.account.calls
    assert (call.images, call.prompt_tokens, call.completion_tokens) == (2, 0, 0)
    [bill] = simulator.account.costs.of_day(call.arrived_at // 86_400).items()
    assert bill[0] == "sim-dall-e, images"
    assert f"{bill[1]}" == "0.08"


async def test_edits_and_variations_look_at_the_images_that_came(client: AsyncOpenAI, simulator: Simulator) -> None:
    edited = await client.images.edit(model="sim-image", image=[PNG, PNG], mask=PNG, prompt="At dusk", n=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        varied = await client.images.create_variation(image=PNG, response_format="b64_json")

    assert edited.usage
    assert edited.usage.input_tokens_details.image_tokens == 2 * 2 * 323
    assert (varied.data or [])[0].b64_json
    assert [call.model for call in simulator.account.calls] == ["sim-image", "dall-e-2"]


async def test_edits_in_json_name_their_images(wire: Wire) -> None:
    images = [{"image_url": "https://example.org/weir.png"}]
    received = await wire.ask({**ASK, "images": images}, "/v1/images/edits")
    assert orjson.loads(received.body)["usage"]["input_tokens_details"]["image_tokens"] == 323


@pytest.mark.parametrize("is_edit", [False, True])
async def test_a_stream_shows_unfinished_images_before_each_finished_one(
    client: AsyncOpenAI, simulator: Simulator, is_edit: bool
) -> None:
    options: Any = {**ASK, "quality": "low", "stream": True, "partial_images": 2, "n": 2}
    stream = await (client.images.edit(image=PNG, **options) if is_edit else client.images.generate(**options))
    events = [event async for event in stream]

    kind = "image_edit" if is_edit else "image_generation"
    assert [event.type for event in events] == [
        f"{kind}.partial_image",
        f"{kind}.partial_image",
        f"{kind}.completed",
    ] * 2
    used = sum(event.usage.output_tokens for event in events if event.type.endswith("completed"))
    [call] = simulator.account.calls
    assert used == call.completion_tokens == call.completion_tokens_sent == 2 * (272 + 200)


@pytest.mark.parametrize(
    ("path", "document", "param"),
    [
        (PATH, {"model": "sim-image"}, "prompt"),
        (PATH, {**ASK, "n": 11}, "n"),
        (PATH, {**ASK, "model": "sim-dall-e", "stream": True}, "stream"),
        ("/v1/images/edits", ASK, "images"),
        ("/v1/images/variations", {}, "image"),
    ],
)
async def test_a_bad_request_is_refused(wire: Wire, path: str, document: dict[str, Any], param: str) -> None:
    received = await wire.ask(document, path)
    assert received.status == 400
    assert orjson.loads(received.body)["error"]["param"] == param


async def test_a_form_without_a_prompt_is_refused(wire: Wire) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n1\r\n--x--\r\n'
    received = await wire.ask(body, "/v1/images/edits", content_type="multipart/form-data; boundary=x")
    assert orjson.loads(received.body)["error"]["param"] == "prompt"


@pytest.mark.parametrize(
    ("script", "ending", "events"),
    [
        ("cut_after=0", "cut", 0),
        ("eof_after=0", "cut", 0),
        ("cut_after=1", "cut", 1),
        ("error_after=2", "cut", 3),
        ("no_usage=1", "finished", 3),
        ("malformed=json", "finished", 3),
        ("tokens_per_second=1000", "finished", 3),
        ("status=500", "refused", 0),
    ],
)
async def test_scripts_work_in_its_streams(
    wire: Wire, simulator: Simulator, script: str, ending: str, events: int
) -> None:
    received = await wire.ask({**ASK, "stream": True, "partial_images": 2}, PATH, x_simulator=script)
    assert len(received.events()) == events
    assert (await simulator.account.wait_for_endings(1))[0].ending == ending


async def test_scripts_work_in_its_plain_answers(wire: Wire) -> None:
    assert b"usage" not in (await wire.ask(ASK, PATH, x_simulator="no_usage=1")).body
    usage = orjson.loads((await wire.ask(ASK, PATH, x_simulator="output_tokens=7;prompt_tokens=9")).body)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (9, 7)
