"""The journey of a new user: one call, its answer, its cost, its receipt."""

from decimal import Decimal
from typing import Any

from tests.fixtures.weir import RunningWeir

_HELLO: Any = [{"role": "user", "content": "Say hello."}]


async def test_a_plain_call_is_answered_and_is_one_row_with_its_exact_cost(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        raw = await client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=_HELLO)
    completion = raw.parse()

    assert completion.choices[0].message.content
    [entry] = await weir.entries()
    usage = completion.usage
    assert usage is not None
    expected = usage.prompt_tokens * 150 + usage.completion_tokens * 600  # 0.15 and 0.60 dollars per million tokens
    assert entry["cost_nano"] == expected
    assert Decimal(raw.headers["x-weir-cost-usd"]) * 10**9 == expected
    assert (entry["ending"], entry["outcome"], entry["status"]) == ("settled", "completed", 200)


async def test_a_streamed_call_is_one_row_and_its_usage_chunk_is_not_shown_unasked(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        stream = await client.chat.completions.create(model="gpt-4o-mini", messages=_HELLO, stream=True)
        chunks = [chunk async for chunk in stream]

    assert all(chunk.choices for chunk in chunks)
    [entry] = await weir.entries()
    [call] = weir.arrivals
    assert (entry["input_tokens"], entry["output_tokens"]) == (call.prompt_tokens, call.completion_tokens)
    assert entry["streamed"]
    assert (entry["ending"], entry["outcome"]) == ("settled", "completed")
