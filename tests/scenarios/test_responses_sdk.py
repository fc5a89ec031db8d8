"""openai-python's Responses API: through Weir a program sees what it would see without it."""

import asyncio

import pytest
from openai import AsyncOpenAI

from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir
from tests.scenarios.sdk_responses import RESPONSES


@pytest.mark.parametrize("name", RESPONSES)
async def test_a_journey_through_weir_is_the_same_as_directly(weir: RunningWeir, name: str) -> None:
    direct = AsyncOpenAI(base_url=weir.settings.openai_base_url, api_key=UPSTREAM_KEY, max_retries=0)
    async with asyncio.timeout(30), direct, weir.openai() as through_weir:
        expected = await RESPONSES[name](direct)
        seen = await RESPONSES[name](through_weir)
    assert expected not in ("no error", [])
    assert seen == expected
