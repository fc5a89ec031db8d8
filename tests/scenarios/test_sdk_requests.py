"""What openai-python asks for arrives upstream through Weir as it does without it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from app.settings import Settings
from app.simulator.server import serve_simulator
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir, run_weir, with_upstream
from tests.scenarios import sdk_journeys, sdk_responses, stored_journeys
from tests.scenarios.recording import Recorder

JOURNEYS = {
    "chats": sdk_journeys.JOURNEYS,
    "responses": sdk_responses.RESPONSES,
    "stored objects": stored_journeys.JOURNEYS,
}
# What no upstream need be asked: a parameter that must be there, an object that nobody has.
REFUSED_BY_WEIR = frozenset({"missing parameter", "unknown", "nothing there"})


@pytest.fixture
async def behind(settings: Settings, weir: RunningWeir) -> AsyncIterator[tuple[RunningWeir, Recorder]]:
    recorder = Recorder(api_key=UPSTREAM_KEY)
    async with (
        serve_simulator(recorder) as base_url,
        run_weir(with_upstream(settings, base_url), recorder) as running,
    ):
        yield running, recorder


@pytest.mark.parametrize("kind", JOURNEYS)
async def test_each_request_of_the_sdk_arrives_as_it_was_sent(behind: tuple[RunningWeir, Recorder], kind: str) -> None:
    weir, recorder = behind
    direct = Recorder(api_key=UPSTREAM_KEY)
    different = {}
    async with (
        asyncio.timeout(60),
        serve_simulator(direct) as base_url,
        AsyncOpenAI(base_url=base_url, api_key=UPSTREAM_KEY, max_retries=0) as directly,
        weir.openai() as through_weir,
    ):
        for name, journey in JOURNEYS[kind].items():
            direct.forget()
            recorder.forget()
            await journey(directly)
            await journey(through_weir)
            wanted = [] if name in REFUSED_BY_WEIR else direct.requests()
            if recorder.requests() != wanted:
                different[name] = (recorder.requests(), wanted)
    assert different == {}
