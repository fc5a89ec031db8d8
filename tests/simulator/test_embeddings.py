import base64
import struct
from typing import Any

import orjson
import pytest
from openai import AsyncOpenAI

from app.simulator.app import Simulator
from tests.simulator.wire import Wire

PATH = "/v1/embeddings"


async def test_numbers_and_base64_are_the_same_unit_vector(client: AsyncOpenAI) -> None:
    # The SDK asks for base64 unless told otherwise, and decodes it.
    decoded = await client.embeddings.create(model="sim-embedding", input="a weir", dimensions=64)
    numbers = await client.embeddings.create(
        model="sim-embedding", input="a weir", dimensions=64, encoding_format="float"
    )
    assert decoded.data[0].embedding == numbers.data[0].embedding
    assert len(numbers.data[0].embedding) == 64
    assert sum(number * number for number in numbers.data[0].embedding) == pytest.approx(1)


async def test_base64_holds_little_endian_floats(wire: Wire) -> None:
    received = await wire.ask({"model": "m", "input": "a", "dimensions": 2, "encoding_format": "base64"}, PATH)
    answer = orjson.loads(received.body)
    plain = orjson.loads((await wire.ask({"model": "m", "input": "a", "dimensions": 2}, PATH)).body)
    assert set(answer) == {"object", "data", "model", "usage"}
    embedding = base64.b64decode(answer["data"][0]["embedding"])
    assert list(struct.unpack("<2f", embedding)) == plain["data"][0]["embedding"]


@pytest.mark.parametrize(
    ("value", "count", "tokens"),
    [("one two", 1, 2), (["one two", "three"], 2, 3), ([1, 2, 3], 1, 3), ([[1, 2, 3], [4]], 2, 4)],
)
async def test_every_kind_of_input_is_counted(
    client: AsyncOpenAI, simulator: Simulator, value: Any, count: int, tokens: int
) -> None:
    answer = await client.embeddings.create(model="sim-embedding", input=value, dimensions=8)
    assert [item.index for item in answer.data] == list(range(count))
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == tokens
    (call,) = simulator.account.calls
    assert (call.prompt_tokens, call.completion_tokens, call.ending) == (tokens, 0, "finished")


async def test_different_inputs_have_different_vectors_of_the_usual_length(client: AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert answer.data[0].embedding != answer.data[1].embedding
    assert {len(item.embedding) for item in answer.data} == {1536}


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": 1}, "input", "invalid_type"),
        ({"input": [True]}, "input", "invalid_type"),
        ({"input": ["a", 1]}, "input", "invalid_type"),
        ({"input": ""}, "input", None),
        ({"input": []}, "input", None),
        ({"input": ["a"] * 2049}, "input", None),
        ({"dimensions": 0}, "dimensions", "integer_below_min_value"),
        ({"encoding_format": "hex"}, "encoding_format", "invalid_value"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(
    wire: Wire, changes: dict[str, Any], param: str, code: str | None
) -> None:
    received = await wire.ask({"model": "sim-embedding", "input": "a", **changes}, PATH)
    error = orjson.loads(received.body)["error"]
    assert received.status == 400
    assert (error["param"], error["code"]) == (param, code)


async def test_scripts_work_on_embeddings(wire: Wire, simulator: Simulator) -> None:
    base = {"input": "a", "dimensions": 8}
    silent = await wire.ask({**base, "model": "m;no_usage=1"}, PATH)
    cut = await wire.ask({**base, "model": "m;cut_after=0"}, PATH)
    broken = await wire.ask({**base, "model": "m;malformed=json;prompt_tokens=5"}, PATH)
    assert "usage" not in orjson.loads(silent.body)
    assert not cut.is_complete
    assert broken.is_complete
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(broken.body)
    await simulator.account.wait_for_endings(3)
    assert [call.ending for call in simulator.account.calls] == ["finished", "cut", "finished"]
    assert simulator.account.calls[2].prompt_tokens == 5
