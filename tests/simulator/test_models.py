import openai
import pytest
from openai import AsyncOpenAI

from app.simulator.app import Simulator


async def test_the_list_shows_three_models(client: AsyncOpenAI, simulator: Simulator) -> None:
    models = [model.id async for model in client.models.list()]
    assert models == ["sim-small", "sim-large", "sim-embedding"]
    assert [(call.path, call.ending) for call in simulator.account.calls] == [("/v1/models", "finished")]


@pytest.mark.parametrize("name", ["sim-small", "gpt-4o", "org/model:tag"])
async def test_any_model_is_found(client: AsyncOpenAI, name: str) -> None:
    model = await client.models.retrieve(name)
    assert (model.id, model.object) == (name, "model")


async def test_a_script_makes_the_list_fail(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError):
        await client.models.list(extra_headers={"x-simulator": "status=503"})
