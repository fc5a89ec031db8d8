"""The HTTP client towards upstreams: connections that are kept, and those that are given up."""

import asyncio
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict
from yarl import URL

from app.settings import Settings
from app.upstreams.client import UpstreamClient
from app.upstreams.failure import UpstreamFailed
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir
from tests.upstreams.connections import idle, in_use

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}


async def test_a_connection_is_used_again_after_an_answer_that_ended_and_not_after_another(weir: RunningWeir) -> None:
    client = UpstreamClient(Settings().upstream)
    url = URL(f"{weir.settings.openai_base_url}/chat/completions")
    headers = CIMultiDict({"authorization": f"Bearer {UPSTREAM_KEY}"})
    try:
        for stream in (False, True, False):
            body = orjson.dumps({**HELLO, "stream": stream})
            with await client.send("POST", url, headers, body) as answer:
                assert (answer.status, bool(await answer.read_all())) == (200, True)
            assert (in_use(client), idle(client)) == (0, 1)
        headers["x-simulator"] = "hang=1"
        with await client.send("POST", url, headers, orjson.dumps({**HELLO, "stream": True})) as answer:
            await answer.read_some()
        assert (in_use(client), idle(client)) == (0, 0)
    finally:
        await client.close()


async def test_no_cookie_of_an_upstream_is_sent_back_to_it(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    body = b'{"choices":[]}'
    canned.answers(b"HTTP/1.1 200 OK\r\nset-cookie: a=planted\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    async with canned_weir.http() as client:
        for _ in range(2):
            await client.post("/v1/chat/completions", json=HELLO)
    assert len(canned.requests) == 2
    assert b"planted" not in canned.requests[1]


async def test_a_call_that_finds_no_free_connection_was_not_sent(
    canned: CannedUpstream, canned_weir: RunningWeir
) -> None:
    settings = Settings().upstream.model_copy(update={"connections_max": 1, "connect_timeout_seconds": 0.1})
    client = UpstreamClient(settings)
    url = URL(canned_weir.settings.openai_base_url)
    never = asyncio.Event()
    canned.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", never)
    try:
        with await client.send("GET", url, CIMultiDict(), None), pytest.raises(UpstreamFailed) as caught:
            await client.send("GET", url, CIMultiDict(), None)
    finally:
        never.set()
        await client.close()
    assert (caught.value.failure, caught.value.reason) == ("no_room", "all 1 connections are in use")
    assert in_use(client) == 0
    assert len(canned.requests) == 1
