"""openai-python, the newest and the last of version 2: through Weir a program sees what it would see without it."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI

from app.settings import Settings
from app.simulator.app import Simulator
from app.simulator.exchange import Receive, Scope, Send
from app.simulator.server import serve_simulator
from tests.fixtures.waiting import until
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir, run_weir, with_upstream
from tests.scenarios.sdk_journeys import HELLO, JOURNEYS, MODEL

_OPENAI_2 = Path(sys.prefix) / ".openai2"
_CLASSES = [name for name in JOURNEYS if name.endswith("Error")]


@pytest.fixture(autouse=True)
async def _nothing_left_behind(weir: RunningWeir) -> AsyncIterator[None]:
    """Wait for calls that their client gave up: they are finished, and would be rows of the next test."""
    yield
    sent = {call.request_id for call in weir.arrivals if call.path.endswith("/completions")}

    async def are_settled() -> bool:
        return sent <= {None, *(entry["request_id"] for entry in await weir.entries())}

    await until(are_settled)


def _direct(weir: RunningWeir) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=weir.settings.openai_base_url, api_key=UPSTREAM_KEY, max_retries=0)


@pytest.mark.parametrize("name", JOURNEYS)
async def test_the_newest_sdk_sees_the_same_through_weir_as_directly(weir: RunningWeir, name: str) -> None:
    async with asyncio.timeout(30), _direct(weir) as direct, weir.openai() as through_weir:
        expected = await JOURNEYS[name](direct)
        seen = await JOURNEYS[name](through_weir)
    assert expected not in ("no error", [])
    assert seen == expected


@pytest.mark.parametrize("name", _CLASSES)
async def test_an_error_is_raised_as_the_class_that_its_status_stands_for(weir: RunningWeir, name: str) -> None:
    async with asyncio.timeout(30), weir.openai() as client:
        assert f'"{name}"' in json.dumps(await JOURNEYS[name](client))


async def test_openai_2_sees_the_same_through_weir_as_directly(weir: RunningWeir) -> None:
    assert _OPENAI_2.is_dir(), "openai 2 is not installed: `make .venv/.openai2` does it"
    servers = [weir.settings.openai_base_url, UPSTREAM_KEY, f"{weir.base_url}/v1", weir.api_key]
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("sdk_journeys.py")),
        *servers,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_OPENAI_2)},
    )
    async with asyncio.timeout(60):
        output, errors = await program.communicate()
    assert program.returncode == 0, errors.decode()
    told = json.loads(output)
    assert told["version"].startswith("2.")
    expected, seen = told["seen"]
    assert seen.keys() == JOURNEYS.keys()
    for name in JOURNEYS:
        assert expected[name] not in ("no error", []), name
        assert seen[name] == expected[name], name


async def test_every_call_of_a_journey_is_a_row_with_a_receipt(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        for name in ("plain", "streamed", "tools", "streamed tools", "structured output", "two choices"):
            await JOURNEYS[name](client)
    entries = await weir.entries()
    calls = weir.arrivals
    assert len(entries) == len(calls) == 8
    assert [entry["output_tokens"] for entry in entries] == [call.completion_tokens for call in calls]
    async with weir.http() as http:
        for entry in entries:
            receipt = await http.get(f"/v1/requests/{entry['request_id']}")
            assert receipt.json()["tokens"]["output"] == entry["output_tokens"]


async def test_a_stream_that_breaks_raises_and_never_looks_finished(weir: RunningWeir) -> None:
    async with asyncio.timeout(30), weir.openai() as client:
        stream = await client.chat.completions.create(model=f"{MODEL};cut_after=3", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError) as raised:
            async for _ in stream:
                pass
    assert raised.value.code == "upstream_unreachable"


async def test_a_credential_that_the_upstream_refuses_is_no_authentication_error(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        with pytest.raises(openai.InternalServerError) as raised:
            await client.chat.completions.create(model=f"{MODEL};status=401", messages=HELLO)
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_authentication_failed")


class _FailsFirst(Simulator):
    """Answers 429 to every first attempt, which the SDK numbers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (b"x-stainless-retry-count", b"0") in scope.get("headers", ()):
            script = (b"x-simulator", b"status=429;header.retry-after-ms=1")
            scope = {**scope, "headers": [*scope["headers"], script]}
        await super().__call__(scope, receive, send)


@pytest.fixture
async def fails_first(settings: Settings, weir: RunningWeir) -> AsyncIterator[RunningWeir]:
    simulator = _FailsFirst(api_key=UPSTREAM_KEY)
    async with (
        serve_simulator(simulator) as base_url,
        run_weir(with_upstream(settings, base_url), simulator) as running,
    ):
        yield running


async def test_the_retries_of_the_sdk_bring_it_to_its_answer_in_two_calls(fails_first: RunningWeir) -> None:
    async with asyncio.timeout(30), fails_first.openai(max_retries=2) as client:
        completion = await client.chat.completions.create(model=MODEL, messages=HELLO)
    assert completion.choices[0].message.content
    assert len(fails_first.simulator.account.calls) == 2
    assert [entry["status"] for entry in await fails_first.entries()] == [429, 200]


@pytest.mark.parametrize("script", ["status=429;header.retry-after-ms=1", "status=500;header.retry-after-ms=1"])
async def test_an_upstream_that_goes_on_failing_sees_three_calls_and_no_more(weir: RunningWeir, script: str) -> None:
    async with asyncio.timeout(30), weir.openai(max_retries=2) as client:
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(model=f"{MODEL};{script}", messages=HELLO)
    assert len(weir.arrivals) == 3


async def test_what_weir_says_not_to_retry_is_not_retried(weir: RunningWeir) -> None:
    async with asyncio.timeout(30), weir.openai(max_retries=2) as client:
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model=f"{MODEL};status=401", messages=HELLO)
    assert len(weir.arrivals) == 1


async def test_the_id_that_the_sdk_shows_is_the_one_of_the_receipt(weir: RunningWeir) -> None:
    async with weir.openai() as client, weir.http() as http:
        completion = await client.chat.completions.create(model=MODEL, messages=HELLO)
        assert re.fullmatch(r"req_\w{32}", completion._request_id or "")
        receipt = await http.get(f"/v1/requests/{completion._request_id}")
    assert receipt.json()["id"] == completion._request_id
