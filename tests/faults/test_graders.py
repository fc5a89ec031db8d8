"""Upstreams that watch how Weir treats them find nothing: no storms, no impatience, no blind trust, no endless wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import openai
import pytest

from app.settings import Settings
from app.simulator.app import Simulator
from tests.faults.grader import Grader, call, grading
from tests.fixtures.canned import LAST_CHUNK, chunk, event
from tests.fixtures.upstreams import Managed
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, run_weir, with_changes, with_upstream

CALLS = 30
CALLS_OF_AN_SDK = 8
RETRIES_AT_FIRST = 10
"""What the budget of retries of an upstream begins with."""
CHANGES = {
    "dispatch.attempts_max": 3,
    "dispatch.retries_per_second": 0,
    "upstreams.allow_private_addresses": True,
    "upstream.first_byte_timeout_seconds": 1.0,
    "upstream.between_chunks_timeout_seconds": 0.5,
}
CONTENT = event({"choices": [{"index": 0, "delta": {"content": "word"}}]})
STREAM = {"content_type": "text/event-stream", "transfer_encoding": "chunked"}
JSON = {"content_type": "application/json"}


@pytest.fixture
async def graders(managed: Managed) -> AsyncIterator[list[Grader]]:
    """Yield two upstreams that judge; the first is the one of the environment."""
    async with grading() as first, grading() as second:
        await managed.add(name="second", base_url=second.base_url, models=["gpt-*"], priority=1, test=False)
        yield [first, second]


@pytest.fixture
async def judged(managed: Managed, graders: list[Grader]) -> AsyncIterator[RunningWeir]:
    """Yield a Weir that sends calls as it does by default, with both graders behind it."""
    settings = with_changes(with_upstream(managed.weir.settings, graders[0].base_url), CHANGES)
    async with run_weir(settings, Simulator()) as weir:
        weir.api_key = managed.weir.api_key
        await weir.forget_upstreams()
        yield weir
        await weir.wiring.ledger.drain()
    assert [grader.findings for grader in graders] == [[], []]


@pytest.fixture(scope="module")
async def _alone(settings: Settings) -> AsyncIterator[tuple[RunningWeir, Grader]]:
    async with grading() as grader:
        changed = with_changes(with_upstream(settings, grader.base_url), CHANGES)
        async with run_weir(changed, Simulator()) as weir:
            yield weir, grader


@pytest.fixture
async def alone(weir: RunningWeir, _alone: tuple[RunningWeir, Grader]) -> AsyncIterator[tuple[RunningWeir, Grader]]:
    """Yield a Weir with a single upstream that judges, beside `weir` and on the same database, which was emptied."""
    running, grader = _alone
    running.api_key = weir.api_key
    await running.forget_upstreams()
    grader.reset()
    yield running, grader
    await running.wiring.ledger.drain()
    assert grader.findings == []


class Counting:
    """Counts what an SDK sends."""

    def __init__(self) -> None:
        self.requests = 0

    async def __call__(self, _: httpx.Request) -> None:
        self.requests += 1


async def impatient_calls(weir: RunningWeir) -> int:
    """Make calls that fail, each three times as an SDK does, but at once; return how many requests that were."""
    requests = 0

    async def go_on(client: httpx.AsyncClient, number: int) -> None:
        nonlocal requests
        for retry_count in range(3):
            requests += 1
            headers = {"x-stainless-retry-count": str(retry_count)}
            answer = await client.post("/v1/chat/completions", json=call(number), headers=headers)
            assert answer.is_error
            if answer.headers.get("x-should-retry") == "false":
                break

    async with asyncio.timeout(60), weir.http() as client:
        await asyncio.gather(*(go_on(client, number) for number in range(CALLS)))
    return requests


async def calls_of_an_sdk(weir: RunningWeir, count: int) -> int:
    """Make calls that fail, with the SDK's own retries; return how many requests it made of them."""
    counting = Counting()
    async with AsyncExitStack() as stack:
        http = openai.DefaultAsyncHttpxClient(event_hooks={"request": [counting]})
        client = await stack.enter_async_context(weir.openai(http_client=http, max_retries=openai.DEFAULT_MAX_RETRIES))
        made = (client.chat.completions.create(**call(number)) for number in range(count))
        async with asyncio.timeout(60):
            results = await asyncio.gather(*made, return_exceptions=True)
    assert all(isinstance(result, openai.APIStatusError) for result in results)
    return counting.requests


@pytest.mark.parametrize(
    ("status", "header", "value"),
    [
        (429, "retry_after", "1"),
        (429, "retry_after_ms", "700"),
        (503, "retry_after", "1"),
        (529, "retry_after_ms", "700"),
    ],
)
async def test_a_pause_that_was_asked_for_is_kept_by_all_calls(
    alone: tuple[RunningWeir, Grader], status: int, header: str, value: str
) -> None:
    weir, grader = alone
    pause_ms = 1_000 if value == "1" else int(value)
    grader.refuses(status, pause_ms, **{header: value})
    async with weir.http() as client:
        answers = await asyncio.gather(
            client.post("/v1/chat/completions", json=call(0)),
            *(after_the_first(grader, client, number) for number in range(1, 10)),
        )
    assert {answer.status_code for answer in answers} <= {status, 429}
    assert grader.of_call[b"call-0"] > 1
    assert max(grader.of_call.values()) <= 3


async def after_the_first(grader: Grader, client: httpx.AsyncClient, number: int) -> httpx.Response:
    await until(lambda: grader.requests > 0 and grader.open_count == 0)
    return await client.post("/v1/chat/completions", json=call(number))


async def test_a_pause_that_is_too_long_to_wait_for_is_told_to_callers_who_are_not_sent_on(
    alone: tuple[RunningWeir, Grader],
) -> None:
    weir, grader = alone
    grader.refuses(429, 60_000, retry_after="60")
    async with weir.http() as client:
        for number in range(10):
            answer = await client.post("/v1/chat/completions", json=call(number))
            assert answer.status_code == 429
            assert 50 <= int(answer.headers["retry-after"]) <= 60
    assert grader.requests == 1


@pytest.mark.parametrize("kind", ["500", "429", "reset"])
async def test_an_outage_of_all_upstreams_is_not_amplified(
    judged: RunningWeir, graders: list[Grader], kind: str
) -> None:
    for grader in graders:
        if kind.isdecimal():
            grader.refuses(int(kind))

    requests = await impatient_calls(judged)

    for grader in graders:
        assert grader.requests <= 1.2 * requests + RETRIES_AT_FIRST
        assert max(grader.of_call.values()) <= 3


async def test_an_sdk_and_weir_together_do_not_hammer_an_upstream_that_is_down(
    alone: tuple[RunningWeir, Grader],
) -> None:
    weir, grader = alone
    grader.refuses(500)

    requests = await calls_of_an_sdk(weir, CALLS_OF_AN_SDK)

    assert 0 < grader.requests <= 1.2 * requests + RETRIES_AT_FIRST
    assert max(grader.of_call.values()) <= 3


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (chunk(CONTENT), STREAM),
        (chunk(CONTENT + CONTENT[:9]), STREAM),
        (chunk(CONTENT) + LAST_CHUNK, STREAM),
        (chunk(CONTENT + CONTENT[:9]) + LAST_CHUNK, STREAM),
        (CONTENT, {"content_type": "text/event-stream"}),
        (CONTENT, {"content_type": "text/event-stream", "content_length": "1000"}),
    ],
    ids=["no last chunk", "half an event", "no last event", "half an event at the end", "until it closes", "too short"],
)
async def test_a_stream_that_was_cut_is_never_taken_for_a_whole_one(
    alone: tuple[RunningWeir, Grader], body: bytes, headers: dict[str, str]
) -> None:
    weir, grader = alone
    grader.answers(200, body, **headers)

    async def read(stream: Any) -> None:
        async for _ in stream:
            pass

    async with weir.openai(max_retries=openai.DEFAULT_MAX_RETRIES) as client:
        stream = await client.chat.completions.create(**call(0), stream=True)
        with pytest.raises(openai.APIError, match="upstream"):
            await read(stream)
    assert grader.requests == 1


@pytest.mark.parametrize("body", [b'{"choices":[', b'{"choices":[],"usage":{"prompt_tokens":9}'])
@pytest.mark.parametrize("length", ["1000", ""])
async def test_an_answer_that_was_cut_is_never_taken_for_a_whole_one(
    alone: tuple[RunningWeir, Grader], body: bytes, length: str
) -> None:
    weir, grader = alone
    grader.answers(200, body, **JSON, **({"content_length": length} if length else {}))
    async with weir.openai() as client:
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(**call(0))
    assert grader.requests == 1


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"],
    ids=["before the head", "in the head", "in the body"],
)
async def test_an_upstream_that_hangs_is_hung_up_on(
    alone: tuple[RunningWeir, Grader], answer: bytes, stream: bool
) -> None:
    weir, grader = alone
    grader.hangs, grader.answer = True, answer
    async with weir.http() as client:
        response = await client.post("/v1/chat/completions", json=call(0, stream=stream))
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
    await until(lambda: grader.open_count == 0)
    assert grader.requests == 1
