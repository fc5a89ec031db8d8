"""Embeddings, completions, moderations and images through a running Weir: the bytes, the ledger, budgets and limits.

What the simulator says that it served is the witness of each entry.
"""

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final

import openai
import orjson
import pytest
from openai import AsyncOpenAI

from app.core.clock import utc_now
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.waiting import until
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir
from tests.gateway.test_budgeted import make_budget, window
from tests.limits.making import make
from tests.simulator.wire import Received, Wire

PNG: Final = ("heron.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "image/png")
EMBED: Final[dict[str, Any]] = {"model": "text-embedding-3-small", "input": "A weir holds back water."}
COMPLETE: Final[dict[str, Any]] = {"model": "gpt-3.5-turbo-instruct", "prompt": "A weir is", "max_tokens": 8}
DRAW: Final[dict[str, Any]] = {"model": "gpt-image-1", "prompt": "A heron on a weir.", "size": "1024x1024"}
PICTURE: Final[dict[str, Any]] = {"model": "dall-e-3", "prompt": "A heron on a weir.", "size": "1024x1024"}
SEEN: Final[Any] = [{"type": "image_url", "image_url": {"url": "https://example.org/weir.png"}}]

Ask = Callable[[AsyncOpenAI], Awaitable[Any]]
ASKS: Final[dict[str, Ask]] = {
    "embeddings as the SDK wants them": lambda sdk: sdk.embeddings.create(**EMBED),
    "embeddings as numbers": lambda sdk: sdk.embeddings.create(**EMBED, encoding_format="float", dimensions=8),
    "embeddings of several texts": lambda sdk: sdk.embeddings.create(**{**EMBED, "input": ["one", "two three"]}),
    "embeddings of tokens": lambda sdk: sdk.embeddings.create(**{**EMBED, "input": [[1, 2, 3], [4]]}),
    "a completion": lambda sdk: sdk.completions.create(**COMPLETE),
    "completions": lambda sdk: sdk.completions.create(
        **{**COMPLETE, "prompt": ["one", "two"]}, n=2, best_of=3, echo=True, suffix=" across a river"
    ),
    "a completion of tokens": lambda sdk: sdk.completions.create(**{**COMPLETE, "prompt": [1, 2, 3]}),
    "a completion of nothing": lambda sdk: sdk.completions.create(**{**COMPLETE, "max_tokens": 0}, echo=True),
    "a moderation": lambda sdk: sdk.moderations.create(input="I like weirs."),
    "moderations": lambda sdk: sdk.moderations.create(model="omni-moderation-latest", input=["I like", "to kill"]),
    "a moderation of an image": lambda sdk: sdk.moderations.create(model="omni-moderation-latest", input=SEEN),
    "images": lambda sdk: sdk.images.generate(**DRAW, n=2, quality="low"),
    "a picture": lambda sdk: sdk.images.generate(**PICTURE),
    "an image of no model": lambda sdk: sdk.images.generate(prompt="A heron."),
    "an edit": lambda sdk: sdk.images.edit(model="gpt-image-1", image=PNG, prompt="At dusk.", n=1),
    "edits": lambda sdk: sdk.images.edit(
        model="gpt-image-1", image=[PNG, PNG], mask=PNG, prompt="At dusk.", input_fidelity="high", quality="medium"
    ),
    "variations": lambda sdk: vary(sdk, image=PNG, n=2, response_format="b64_json"),
}


async def vary(sdk: AsyncOpenAI, **options: Any) -> Any:
    """Ask for variations, which newer versions of the SDK advise against."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return await sdk.images.create_variation(**options)


async def edit_json(weir: RunningWeir, **headers: str) -> Any:
    """The answer to edits of images that JSON names, which the SDK cannot ask for."""
    images = [{"image_url": "data:image/png;base64,iVBORw0KGgo="}]
    async with weir.http() as client:
        return await client.post("/v1/images/edits", json={**DRAW, "images": images}, headers=headers)


async def ask(weir: RunningWeir, path: str, document: dict[str, Any], script: str = "latency_ms=0") -> Received:
    authorization = f"Bearer {weir.api_key}"
    return await Wire(weir.base_url).ask(document, path, authorization=authorization, x_simulator=script)


def comparable(answer: Any) -> Any:
    """What two answers of the simulator to the same request have in common."""
    document = answer.to_dict()
    return {name: value for name, value in document.items() if name not in ("id", "created")}


@pytest.mark.parametrize("name", ASKS)
async def test_the_sdk_sees_the_same_through_weir_as_directly(weir: RunningWeir, name: str) -> None:
    direct = AsyncOpenAI(base_url=weir.settings.openai_base_url, api_key=UPSTREAM_KEY, max_retries=0)
    async with asyncio.timeout(30), direct, weir.openai() as through_weir:
        expected = comparable(await ASKS[name](direct))
        seen = comparable(await ASKS[name](through_weir))

    assert seen == expected
    plain, relayed = weir.arrivals
    assert relayed.path == plain.path
    boundary = plain.headers["content-type"].partition("boundary=")[2]
    new_boundary = relayed.headers["content-type"].partition("boundary=")[2]
    assert relayed.body.replace(new_boundary.encode() or b"-", b"") == plain.body.replace(
        boundary.encode() or b"-", b""
    )


@pytest.mark.parametrize("name", ASKS)
async def test_every_call_is_one_entry_with_what_the_upstream_counted(weir: RunningWeir, name: str) -> None:
    async with weir.openai() as client:
        await ASKS[name](client)

    [call], [entry] = weir.arrivals, await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("settled", "completed", 200)
    assert entry["flags"] == []
    assert call.path == f"/v1/{entry['operation'].replace('.', '/')}"
    assert entry["output_tokens"] == call.completion_tokens
    assert (orjson.loads(entry["other_units"] or "{}").get("images", 0)) == call.images
    if entry["operation"] != "moderations":
        assert entry["input_tokens"] == call.prompt_tokens
        assert 0 < entry["cost_nano"] <= entry["ceiling_nano"]


# The nano-dollars of a token, by prices.json: input, images that go in, output.
@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("embeddings of tokens", (20, 0, 0)),
        ("completions", (1_500, 0, 2_000)),
        ("edits", (5_000, 10_000, 40_000)),
    ],
)
async def test_tokens_cost_what_their_model_costs(weir: RunningWeir, name: str, rates: tuple[int, int, int]) -> None:
    async with weir.openai() as client:
        await ASKS[name](client)

    [entry] = await weir.entries()
    images = orjson.loads(entry["other_units"] or "{}").get("input_image_tokens", 0)
    text, seen, made = rates
    assert entry["cost_nano"] == (entry["input_tokens"] - images) * text + images * seen + entry["output_tokens"] * made
    assert bool(images) == (name == "edits")


@pytest.mark.parametrize(
    ("fields", "usd"),
    [
        ({}, "0.04"),
        ({"quality": "standard", "size": "1792x1024"}, "0.08"),
        ({"quality": "hd"}, "0.08"),
        ({"quality": "hd", "size": "1024x1792"}, "0.12"),
        ({"quality": "auto"}, "0.12"),
        ({"model": "dall-e-2", "n": 3, "size": "256x256"}, "0.048"),
        ({"model": "dall-e-2", "n": 2}, "0.04"),
        ({"model": "sim-dall-e", "n": 2}, "0.08"),
    ],
)
async def test_a_picture_costs_what_its_quality_and_size_cost(
    weir: RunningWeir, fields: dict[str, Any], usd: str
) -> None:
    async with weir.openai() as client:
        answer = await client.images.with_raw_response.generate(**{**PICTURE, **fields})

    assert Decimal(answer.headers["x-weir-cost-usd"]) == Decimal(usd)
    [entry] = await weir.entries()
    assert entry["cost_nano"] == Decimal(usd) * 10**9 <= entry["ceiling_nano"]
    assert (entry["input_tokens"], entry["output_tokens"]) == (0, 0)


async def test_an_edit_in_json_is_answered_and_metered(weir: RunningWeir) -> None:
    answer = await edit_json(weir)

    assert answer.status_code == 200, answer.text
    [call], [entry] = weir.arrivals, await weir.entries()
    assert (entry["operation"], entry["input_tokens"]) == ("images.edits", call.prompt_tokens)
    assert orjson.loads(entry["other_units"])["images"] == 1


async def test_images_without_a_usage_are_counted_and_their_tokens_estimated(weir: RunningWeir) -> None:
    answer = await edit_json(weir, **{"x-simulator": "no_usage=1"})

    assert answer.status_code == 200
    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "no_usage")
    assert orjson.loads(entry["other_units"])["images"] == 1
    assert entry["output_tokens"] >= weir.arrivals[0].completion_tokens
    assert 40_000 * entry["output_tokens"] <= entry["cost_nano"] <= entry["ceiling_nano"]


@pytest.mark.parametrize("script", ["malformed=json", "malformed=html", "cut_after=0"])
async def test_an_answer_that_is_none_is_an_error_and_an_estimate(weir: RunningWeir, script: str) -> None:
    headers = {"x-simulator": script}
    async with weir.openai() as client:
        with pytest.raises(openai.InternalServerError):
            await client.images.edit(model="gpt-image-1", image=PNG, prompt="At dusk.", extra_headers=headers)

    [entry] = await weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "upstream_broke")
    assert 0 < entry["cost_nano"] <= entry["ceiling_nano"]


STREAMS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "completions": ("/v1/completions", {**COMPLETE, "stream": True}),
    "images": ("/v1/images/generations", {**DRAW, "stream": True, "partial_images": 2}),
}


async def test_a_streamed_completion_reads_like_a_plain_one(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        plain = await client.completions.create(**COMPLETE, n=2)
        stream = await client.completions.create(**COMPLETE, n=2, stream=True)
        chunks = [chunk async for chunk in stream]
        asking = await client.completions.create(**COMPLETE, stream=True, stream_options={"include_usage": True})
        *_, last = [chunk async for chunk in asking]

    texts = ["".join(c.text for chunk in chunks for c in chunk.choices if c.index == index) for index in (0, 1)]
    assert texts == [choice.text for choice in plain.choices]
    assert all(chunk.choices for chunk in chunks)
    assert last.usage
    assert last.choices == []
    for call, entry in zip(weir.arrivals, await weir.entries(), strict=True):
        assert (entry["ending"], entry["outcome"]) == ("settled", "completed")
        assert (entry["input_tokens"], entry["output_tokens"]) == (call.prompt_tokens, call.completion_tokens)


@pytest.mark.parametrize("edits", [False, True])
async def test_images_are_streamed_with_what_was_used_in_the_last_event(weir: RunningWeir, edits: bool) -> None:
    options: Any = {**DRAW, "stream": True, "partial_images": 2}
    kind = "image_edit" if edits else "image_generation"
    async with weir.openai() as client:
        stream = await (client.images.edit(image=PNG, **options) if edits else client.images.generate(**options))
        events = [event async for event in stream]

    assert [event.type for event in events] == [f"{kind}.partial_image"] * 2 + [f"{kind}.completed"]
    [call], [entry] = weir.arrivals, await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["streamed"]) == ("settled", "completed", True)
    assert (entry["input_tokens"], entry["output_tokens"]) == (call.prompt_tokens, call.completion_tokens)
    assert orjson.loads(entry["other_units"])["images"] == call.images == 1
    assert entry["cost_nano"] <= entry["ceiling_nano"]


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_without_usage_is_an_estimate_of_all_that_was_relayed(weir: RunningWeir, name: str) -> None:
    path, document = STREAMS[name]
    received = await ask(weir, path, document, "no_usage=1")

    assert received.is_complete
    [call], [entry] = weir.arrivals, await weir.entries()
    assert (entry["ending"], entry["outcome"]) == ("estimated", "no_usage")
    assert entry["output_tokens"] >= call.completion_tokens
    assert 0 < entry["cost_nano"] <= entry["ceiling_nano"]


@pytest.mark.parametrize("script", ["cut_after=2", "eof_after=2", "error_after=2"])
@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_that_breaks_off_ends_in_an_error_and_is_paid_as_far_as_it_came(
    weir: RunningWeir, name: str, script: str
) -> None:
    path, document = STREAMS[name]
    received = await ask(weir, path, document, script)

    assert orjson.loads(received.events()[-1])["error"]["code"] != "[DONE]"
    [call], [entry] = weir.arrivals, await weir.entries()
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("estimated", "upstream_broke", 200)
    assert entry["output_tokens"] >= call.completion_tokens_sent > 0
    assert entry["cost_nano"] <= entry["ceiling_nano"]


@pytest.mark.parametrize("name", STREAMS)
async def test_a_caller_who_leaves_a_stream_pays_for_what_was_relayed(weir: RunningWeir, name: str) -> None:
    path, document = STREAMS[name]
    script = "hang=1"
    connection = await Wire(weir.base_url).send(
        document, path, authorization=f"Bearer {weir.api_key}", x_simulator=script
    )
    async with asyncio.timeout(20):
        await connection.read_event()
    await connection.close()

    async def is_settled() -> bool:
        return len(await weir.entries()) == 1

    await until(is_settled)
    [call], [entry] = weir.arrivals, await weir.entries()
    assert (call.ending, entry["ending"], entry["outcome"]) == ("client_left", "estimated", "client_left")
    assert entry["output_tokens"] >= call.completion_tokens_sent > 0


async def test_a_completion_that_names_no_maximum_is_sent_with_openais_under_a_budget(weir: RunningWeir) -> None:
    await make_budget(weir, "1")
    async with weir.openai() as client:
        answer = await client.completions.with_raw_response.create(model=COMPLETE["model"], prompt="A weir is")

    assert answer.headers["x-weir-max-output-tokens"] == "16"
    assert orjson.loads(weir.arrivals[0].body)["max_tokens"] == 16
    [entry] = await weir.entries()
    assert entry["output_tokens"] == 16


@pytest.mark.parametrize(
    "name", ["embeddings of tokens", "embeddings of several texts", "a completion", "images", "a picture", "edits"]
)
async def test_a_budget_for_three_lets_exactly_three_of_ten_at_once_pass(weir: RunningWeir, name: str) -> None:
    async with weir.openai() as client:
        await ASKS[name](client)
        [entry] = await weir.entries()
        await weir.empty()
        weir.simulator.account.reset()
        # What is held is the ceiling, so that the third has to wait until the cost of the others is known.
        await make_budget(weir, f"{Decimal(2 * entry['cost_nano'] + entry['ceiling_nano']) / 10**9:f}")
        asked = (_until_it_is_spent(ASKS[name], client) for _ in range(10))
        async with asyncio.timeout(60):
            passed = await asyncio.gather(*asked)

    assert passed.count(True) == 3
    spent, reserved = await window(weir)
    assert (spent, reserved) == (3 * entry["cost_nano"], 0)
    assert len(weir.arrivals) == 3


async def _until_it_is_spent(asking: Ask, client: AsyncOpenAI) -> bool:
    """Ask again while the budget is only held; tell whether it passed."""
    while True:
        try:
            await asking(client)
        except openai.RateLimitError as refused:
            if refused.code == "insufficient_quota":
                return False
            await asyncio.sleep(0)
        else:
            return True


async def test_moderations_are_free_whatever_is_left_and_whatever_the_model(weir: RunningWeir) -> None:
    await make_budget(weir, "0")
    async with weir.openai() as client:
        for model in ("omni-moderation-latest", "a-model-without-a-price"):
            answer = await client.moderations.with_raw_response.create(model=model, input="I like weirs.")
            assert answer.headers["x-weir-cost-usd"] == "0"
        with pytest.raises(openai.RateLimitError):
            await client.embeddings.create(**EMBED)

    for entry in await weir.entries():
        assert (entry["cost_nano"], entry["ceiling_nano"], entry["price_id"], entry["flags"]) == (0, 0, None, [])
        assert entry["input_tokens"] > 0
    assert await window(weir) == (0, 0)


async def test_moderations_stay_free_under_a_price_for_every_model_and_an_overspent_budget(weir: RunningWeir) -> None:
    await make_budget(weir, "0.00002", mode="observing")
    async with weir.openai() as client:
        await client.completions.create(**COMPLETE)
        await weir.sql("UPDATE budgets SET mode = 'enforcing', limit_nano = 1")
        await weir.sql("UPDATE budget_versions SET version = version + 1")
        with pytest.raises(openai.RateLimitError):
            await client.completions.create(**COMPLETE)
        assert (await client.moderations.create(input="I like weirs.")).results


async def test_images_count_in_limits_of_images(weir: RunningWeir) -> None:
    await make(weir, counts="images", maximum=3)
    async with weir.openai() as client:
        await client.images.generate(**DRAW, n=2)
        with pytest.raises(openai.RateLimitError) as refused:
            await client.images.generate(**DRAW, n=2)
        assert refused.value.type == "images"
        await client.images.generate(**DRAW)
        with pytest.raises(openai.RateLimitError):
            await client.images.edit(model="gpt-image-1", image=PNG, prompt="At dusk.")
        await client.embeddings.create(**EMBED)


async def test_an_image_that_was_refused_gives_its_place_back(weir: RunningWeir) -> None:
    await make(weir, counts="images", maximum=1)
    async with weir.openai() as client:
        with pytest.raises(openai.BadRequestError):
            await client.images.generate(**DRAW, extra_headers={"x-simulator": "status=400"})
        await weir.wiring.ledger.drain()
        await client.images.generate(**DRAW)


async def test_tokens_of_embeddings_and_images_count_in_limits_of_tokens(weir: RunningWeir) -> None:
    await make(weir, counts="tokens", maximum=100_000)
    async with weir.openai() as client:
        for name in ("embeddings of tokens", "images", "moderations"):
            await ASKS[name](client)
        used = sum(entry["input_tokens"] + entry["output_tokens"] for entry in await weir.entries())

        async def is_counted() -> bool:
            async with weir.http() as http:
                limits = (await http.get("/v1/gateway/my/limits")).json()["data"]
            return bool(limits[0]["remaining"] == 100_000 - used)

        await until(is_counted)


async def test_a_form_that_is_sent_again_with_its_idempotency_key_is_made_once(weir: RunningWeir) -> None:
    async with weir.openai() as client:

        async def edit(prompt: str) -> Any:
            headers = {"Idempotency-Key": "edit-1"}
            return await client.images.edit(model="gpt-image-1", image=PNG, prompt=prompt, extra_headers=headers)

        first = await edit("At dusk.")
        await weir.wiring.ledger.drain()
        assert await edit("At dusk.") == first
        with pytest.raises(openai.UnprocessableEntityError):
            await edit("At dawn.")
    assert len(weir.arrivals) == 1


async def test_the_usage_api_shows_them(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        for name in ("embeddings of tokens", "a moderation", "images", "edits", "variations", "a completion"):
            await ASKS[name](client)
    entries = await weir.entries()
    start = int(utc_now().timestamp()) - 3_600
    async with weir.openai(admin_api_key=weir.admin_key) as admin:
        usage = admin.admin.organization.usage

        async def results(method: Any, **options: Any) -> list[dict[str, Any]]:
            page = await method(start_time=start, **options)
            return [result.to_dict() for bucket in page.data for result in bucket.results]

        [embeddings] = await results(usage.embeddings)
        [moderations] = await results(usage.moderations)
        images = await results(usage.images, group_by=["source"])
        [completions] = await results(usage.completions)

    assert embeddings["input_tokens"] == 4
    assert moderations["num_model_requests"] == 1
    assert moderations["input_tokens"] > 0
    assert {result["source"]: result["images"] for result in images} == {
        "image.generation": 2,
        "image.edit": 1,
        "image.variation": 2,
    }
    [completion] = [entry for entry in entries if entry["operation"] == "completions"]
    assert completions["output_tokens"] == completion["output_tokens"]


async def test_an_edit_that_fits_no_more_than_its_bytes_say_is_refused_before_it_is_sent(weir: RunningWeir) -> None:
    await make_budget(weir, "0.05")
    async with weir.openai() as client:
        with pytest.raises(openai.RateLimitError) as refused:
            await client.images.edit(model="gpt-image-1", image=PNG, prompt="At dusk.")
    assert refused.value.code == "insufficient_quota"
    assert len(weir.arrivals) == 0


async def test_unknown_fields_and_odd_forms_arrive_as_they_were_sent(
    canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers_json({"created": 1, "data": [{"b64_json": "x"}]})
    body = (
        b'preamble\r\n--==x==\r\nContent-Disposition: form-data; name="image[]"; filename="caf\xc3\xa9%22;.png"\r\n'
        b"Content-Type: image/png\r\nX-New: 1\r\n\r\n\x00\xff\r\n--==x=\r\n--==x==\r\n"
        b'content-disposition: form-data; name="prompt"\r\n\r\nAt dusk.\r\n--==x==\r\n'
        b'Content-Disposition: form-data; name="new[a][]"\r\n\r\n\r\n--==x==\r\n'
        b"Content-Disposition: form-data; name=model\r\n\r\ndall-e-2\r\n--==x==--\r\nepilogue"
    ).removeprefix(b"preamble\r\n")
    async with canned_weir.http() as client:
        answer = await client.post(
            "/v1/images/edits?a%5B%5D=1&b=%2F",
            content=body,
            headers={"content-type": 'multipart/form-data; boundary="==x=="'},
        )

    assert answer.status_code == 200, answer.text
    head, _, sent = canned.requests[0].partition(b"\r\n\r\n")
    assert sent == body
    assert head.startswith(b"POST /v1/images/edits?a%5B%5D=1&b=%2F HTTP/1.1")
    assert b'multipart/form-data; boundary="==x=="' in head
    assert (await canned_weir.entries())[0]["cost_nano"] == 20_000_000
