"""Moderations: a result for each text, for free."""

from typing import Any

import orjson
import pytest
from openai import AsyncOpenAI

from app.simulator.app import Simulator
from tests.simulator.wire import Wire

PATH = "/v1/moderations"


async def test_what_speaks_of_killing_is_flagged_and_nothing_is_counted(
    client: AsyncOpenAI, simulator: Simulator
) -> None:
    answer = await client.moderations.create(input=["I like weirs", "to KILL time"])

    assert answer.model == "omni-moderation-latest"
    assert [(result.flagged, result.categories.violence) for result in answer.results] == [(False, False), (True, True)]
    assert answer.results[0].category_applied_input_types.violence == ["text"]
    [call] = simulator.account.calls
    assert (call.model, call.prompt_tokens, call.ending) == ("omni-moderation-latest", 0, "finished")


async def test_parts_of_several_kinds_have_one_result(client: AsyncOpenAI) -> None:
    parts: Any = [{"type": "text", "text": "kill"}, {"type": "image_url", "image_url": {"url": "https://example.org"}}]
    [result] = (await client.moderations.create(model="m", input=parts)).results
    assert result.flagged
    assert result.category_applied_input_types.violence == ["text", "image"]


@pytest.mark.parametrize(
    ("document", "code"),
    [({}, "missing_required_parameter"), ({"input": 5}, "invalid_type"), ({"input": [5]}, "invalid_type")],
)
async def test_a_bad_request_is_refused(wire: Wire, document: dict[str, Any], code: str) -> None:
    received = await wire.ask(document, PATH)
    assert (received.status, orjson.loads(received.body)["error"]["code"]) == (400, code)


async def test_scripts_work_here_too(wire: Wire) -> None:
    assert (await wire.ask({"input": "x"}, PATH, x_simulator="status=429")).status == 429
    assert not (await wire.ask({"input": "x"}, PATH, x_simulator="cut_after=0")).is_complete
