"""Sound is paid for in the units of its price, whatever units the upstream tells what it used in."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from tests.fixtures.weir import RunningWeir
from tests.gateway.sounds import wav

SAY: dict[str, Any] = {"input": "A weir holds back water.", "voice": "alloy"}
BY_THE_MINUTE = {"per_unit_usd": {"audio_minutes": "0.006"}}
BY_THE_TOKEN = {"rates": {"input": "50"}}


@pytest.fixture
async def client(weir: RunningWeir) -> AsyncIterator[AsyncClient]:
    async with weir.http() as client:
        yield client
    await weir.sql("DELETE FROM prices WHERE source = 'operator'")
    await weir.wiring.price_admin._prices.load()


async def transcribe(weir: RunningWeir, client: AsyncClient, model: str, **price: Any) -> tuple[str, int]:
    """Return how the entry of 30 seconds of sound ended, and what it costs at *price*."""
    async with weir.http(weir.admin_key) as admin:
        added = await admin.post("/v1/gateway/prices", json={"model": model, **price})
        assert added.status_code == 200, added.text
    sound = {"file": ("a.wav", wav(30), "audio/wav")}
    answer = await client.post("/v1/audio/transcriptions", data={"model": model}, files=sound)
    assert answer.status_code == 200, answer.text
    [entry] = await weir.entries()
    assert entry["flags"] == []
    return entry["ending"], entry["cost_nano"]


async def test_a_transcript_that_is_told_in_tokens_costs_its_length_by_a_price_for_that(
    weir: RunningWeir, client: AsyncClient
) -> None:
    assert await transcribe(weir, client, "gpt-4o-transcribe", **BY_THE_MINUTE) == ("estimated", 3_000_000)
    [entry] = await weir.entries()
    assert (entry["input_tokens"], orjson.loads(entry["other_units"])) == (300, {"audio_seconds": 30})


async def test_a_transcript_that_is_told_in_seconds_costs_about_its_tokens_by_a_price_for_those(
    weir: RunningWeir, client: AsyncClient
) -> None:
    assert await transcribe(weir, client, "test-whisper", **BY_THE_TOKEN) == ("estimated", (300 + 150) * 50_000)


async def test_what_is_free_stays_free_and_as_it_was_told(weir: RunningWeir, client: AsyncClient) -> None:
    assert await transcribe(weir, client, "test-whisper", rates={"input": "0"}) == ("settled", 0)


async def test_a_speech_costs_its_characters_in_events_too(weir: RunningWeir, client: AsyncClient) -> None:
    answer = await client.post("/v1/audio/speech", json={**SAY, "model": "sim-tts", "stream_format": "sse"})
    assert answer.status_code == 200, answer.text
    [entry] = await weir.entries()
    assert (entry["ending"], entry["cost_nano"]) == ("settled", len(SAY["input"]) * 15_000)
    assert orjson.loads(entry["other_units"]) == {"characters": len(SAY["input"])}
