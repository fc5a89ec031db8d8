"""openai-python and what is stored upstream: through Weir a program sees what it would see without it."""

import asyncio

import pytest
from openai import AsyncOpenAI

from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir
from tests.scenarios.stored_journeys import JOURNEYS


@pytest.mark.parametrize("name", JOURNEYS)
async def test_what_is_stored_is_the_same_through_weir_as_directly(weir: RunningWeir, name: str) -> None:
    address = weir.settings.openai_base_url
    async with asyncio.timeout(30), weir.openai() as through_weir:
        async with AsyncOpenAI(base_url=address, api_key=UPSTREAM_KEY, max_retries=0) as direct:
            expected = await JOURNEYS[name](direct)
        seen = await JOURNEYS[name](through_weir)
    assert "no error" not in str(expected)
    assert seen == expected
