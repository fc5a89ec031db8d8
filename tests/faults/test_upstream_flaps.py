"""An upstream that works, fails, works ...: with another one every call is answered, and alone it is not hammered."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import orjson
import pytest

from tests.fixtures.listening import listening
from tests.fixtures.upstreams import Managed
from tests.fixtures.weir import RunningWeir, run_weir, with_changes, with_upstream

HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
MODEL = "second-a"
CALLS = 90
EACH_WAY = 5
RETRIES_AT_FIRST = 10
"""What a budget of retries begins with."""
WHOLE = orjson.dumps({"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2}})
FAILED = orjson.dumps({"error": {"message": "No.", "type": "server_error", "param": None, "code": "its_own"}})


class Flapping:
    """Answers some requests well, then as many badly in the way that `fails` says, then well again."""

    def __init__(self, *, fails: str) -> None:
        self.fails = fails
        self.count = 0
        self.base_url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            asked = await reader.readuntil(b"\r\n\r\n")
            length = next((line for line in asked.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            await reader.readexactly(int(length.split(b":")[1]))
            is_well = self.count // EACH_WAY % 2 == 0
            self.count += b"/chat/completions " in asked
            body = WHOLE if is_well else FAILED
            if is_well or self.fails != "reset":
                status = "200" if is_well else self.fails
                head = f"HTTP/1.1 {status} So\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
                writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
            else:
                writer.transport.abort()
        writer.close()


@pytest.fixture(params=["500", "429", "reset"])
async def flapping(request: pytest.FixtureRequest) -> AsyncIterator[Flapping]:
    upstream = Flapping(fails=request.param)
    async with listening(upstream.serve) as address:
        upstream.base_url = f"{address}/v1"
        yield upstream


async def answers(ask: Callable[[], Awaitable[httpx.Response]]) -> list[httpx.Response]:
    """Return the answers to many calls, a few of them at once."""
    found: list[httpx.Response] = []

    async def go_on() -> None:
        while len(found) < CALLS:
            found.append(await ask())

    async with asyncio.timeout(60):
        await asyncio.gather(*(go_on() for _ in range(3)))
    return found


async def test_while_one_upstream_flaps_others_answer_what_it_does_not(managed: Managed, flapping: Flapping) -> None:
    await managed.weir.forget_upstreams()
    await managed.add(name="flapping", base_url=flapping.base_url, test=False)

    found = await answers(lambda: managed.chat(MODEL))

    assert {answer.status_code for answer in found} == {200}
    entries = Counter((entry["upstream"], entry["status"]) for entry in await managed.weir.entries())
    assert entries["flapping", 200] >= EACH_WAY
    assert entries["flapping", 200] + entries["openai", 200] == len(found)


async def test_a_single_upstream_that_flaps_is_sent_little_more_than_was_asked(
    weir: RunningWeir, flapping: Flapping
) -> None:
    changes = {"dispatch.attempts_max": 3, "dispatch.retries_per_second": 0.001}
    settings = with_changes(with_upstream(weir.settings, flapping.base_url), changes)
    async with run_weir(settings, weir.simulator) as alone, alone.http(weir.api_key) as client:
        found = await answers(lambda: client.post("/v1/chat/completions", json=HELLO))
        entries = await alone.entries()

    statuses = Counter(answer.status_code for answer in found)
    assert set(statuses) <= {200, {"500": 500, "429": 429, "reset": 502}[flapping.fails], 503}
    assert statuses[200] >= EACH_WAY
    assert flapping.count <= 1.2 * len(found) + RETRIES_AT_FIRST
    assert sum(entry["outcome"] == "completed" for entry in entries) == statuses[200]
    for answer in found:
        if answer.status_code == 503:
            assert answer.json()["error"]["code"] == "upstream_unavailable"
            assert int(answer.headers["retry-after"]) > 0
