"""The same Idempotency-Key and body: the same answer, one call, one charge."""

import asyncio
import contextlib
from typing import Any

import httpx
import pytest

from tests.fixtures.canned import CannedUpstream
from tests.fixtures.signed_in import sign_in
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
STREAM = {**HELLO, "stream": True}


async def ask(
    weir: RunningWeir, body: dict[str, Any] = HELLO, *, key: str = "order-1", script: str = ""
) -> httpx.Response:
    async with weir.http() as client:
        return await client.post(
            "/v1/chat/completions", json=body, headers={"idempotency-key": key, "x-simulator": script}
        )


def code(answer: httpx.Response) -> str:
    error: str = answer.json()["error"]["code"]
    return error


@pytest.mark.parametrize("body", [HELLO, STREAM], ids=["plain", "streamed"])
async def test_a_repeated_request_gets_the_same_bytes_and_is_charged_once(
    weir: RunningWeir, body: dict[str, Any]
) -> None:
    first = await ask(weir, body)
    await weir.wiring.ledger.drain()
    again = await ask(weir, body)

    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-weir-original-request-id"] == first.headers["x-request-id"]
    assert again.headers["x-weir-cost-usd"] == "0"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert "idempotent-replayed" not in first.headers
    assert len(weir.arrivals) == 1
    assert len(await weir.entries()) == 1


async def test_the_upstream_never_sees_the_key(weir: RunningWeir) -> None:
    await ask(weir)
    assert "idempotency-key" not in weir.arrivals[0].headers


async def test_another_body_under_the_same_key_is_refused(weir: RunningWeir) -> None:
    await ask(weir)
    await weir.wiring.ledger.drain()
    other = await ask(weir, {**HELLO, "temperature": 0})
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
    assert len(weir.arrivals) == 1


async def test_another_query_under_the_same_key_is_refused(weir: RunningWeir) -> None:
    await ask(weir)
    await weir.wiring.ledger.drain()
    async with weir.http() as client:
        headers = {"idempotency-key": "order-1"}
        other = await client.post("/v1/chat/completions?beta=true", json=HELLO, headers=headers)
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
    assert len(weir.arrivals) == 1


async def test_a_key_belongs_to_one_caller(weir: RunningWeir) -> None:
    await ask(weir)
    await weir.wiring.ledger.drain()
    weir.api_key = (await weir.wiring.keys.create("api", "another", project_id="proj_default")).value
    answer = await ask(weir, {**HELLO, "temperature": 0})
    assert answer.status_code == 200
    assert len(weir.arrivals) == 2


async def test_a_key_of_a_person_is_another_one_in_another_project(weir: RunningWeir) -> None:
    other = await weir.wiring.tenants.projects.create("Other")
    weir.api_key = (await sign_in(weir, "Ada", proj_default="member", **{other.id: "member"})).token
    answers = []
    for project_id in ("proj_default", other.id, other.id):
        async with weir.http() as client:
            headers = {"idempotency-key": "order-1", "openai-project": project_id}
            answers.append(await client.post("/v1/chat/completions", json=HELLO, headers=headers))
        await weir.wiring.ledger.drain()

    assert [answer.status_code for answer in answers] == [200] * 3
    assert ["idempotent-replayed" in answer.headers for answer in answers] == [False, False, True]
    assert [entry["project_id"] for entry in await weir.entries()] == ["proj_default", other.id]


async def test_while_the_first_is_under_way_the_second_is_told_to_wait(weir: RunningWeir) -> None:
    slow = "latency_ms=500"
    first = asyncio.create_task(ask(weir, script=slow))
    await weir.simulator.account.wait_for_arrivals(1)

    second = await ask(weir, script=slow)

    assert (await first).status_code == 200

    assert (second.status_code, code(second)) == (409, "idempotency_key_in_use")
    assert int(second.headers["retry-after-ms"]) > 0
    assert len(weir.arrivals) == 1


@pytest.mark.parametrize("processes", [1, 2])
async def test_of_many_at_once_one_is_sent(weir: RunningWeir, start_weir: StartWeir, processes: int) -> None:
    gateways = [weir, await start_weir({})][:processes]
    for gateway in gateways:
        gateway.api_key = weir.api_key
    answers = await asyncio.gather(*(ask(gateways[number % processes]) for number in range(30)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    sent = [answer for answer in answers if answer.status_code == 200]
    assert len({answer.content for answer in sent}) == 1
    assert len([answer for answer in sent if "idempotent-replayed" not in answer.headers]) == 1
    assert len(weir.arrivals) == 1
    for gateway in gateways:
        await gateway.wiring.ledger.drain()
    assert len(await weir.entries()) == 1


async def test_a_stream_whose_caller_left_is_finished_and_kept(weir: RunningWeir) -> None:
    slow = "output_tokens=60;tokens_per_second=200"
    async with weir.http() as client:
        request = {"json": STREAM, "headers": {"idempotency-key": "order-1", "x-simulator": slow}}
        async with client.stream("POST", "/v1/chat/completions", **request) as answer:  # type: ignore[arg-type]
            await anext(answer.aiter_raw())
    await weir.simulator.account.wait_for_endings(1)
    await until(lambda: weir.wiring.ledger.pending == 0)

    async def is_settled() -> bool:
        return len(await weir.entries()) == 1

    await until(is_settled)
    again = await ask(weir, STREAM, script=slow)

    assert again.headers["idempotent-replayed"] == "true"
    assert again.text.rstrip().endswith("data: [DONE]")
    [entry] = await weir.entries()
    assert (entry["outcome"], entry["output_tokens"]) == ("completed", 60)
    assert len(weir.arrivals) == 1


@pytest.mark.parametrize(
    ("body", "script"),
    [
        (HELLO, "status=400"),
        (HELLO, "status=500"),
        (HELLO, "status=200"),
        (STREAM, "status=200"),
        (HELLO, "malformed=html"),
        (HELLO, "cut_after=1"),
        (STREAM, "cut_after=1"),
        (STREAM, "error_after=1"),
    ],
)
async def test_a_call_that_failed_leaves_its_key_free(weir: RunningWeir, body: dict[str, Any], script: str) -> None:
    with contextlib.suppress(httpx.HTTPError):  # the stream is cut
        await ask(weir, body, script=script)
    await weir.wiring.ledger.drain()
    again = await ask(weir, body)
    assert again.status_code == 200
    assert "idempotent-replayed" not in again.headers
    assert len(weir.arrivals) == 2


@pytest.mark.parametrize("body", [{"model": "gpt-4o-mini"}, {**HELLO, "max_tokens": "many"}])
async def test_a_request_that_is_not_valid_stores_nothing(weir: RunningWeir, body: dict[str, Any]) -> None:
    assert (await ask(weir, body)).status_code == 400
    assert (await ask(weir)).status_code == 200


async def test_a_call_that_a_budget_refuses_leaves_its_key_free(weir: RunningWeir) -> None:
    await weir.sql(
        "INSERT INTO budgets (id, name, scope, period, time_zone, limit_nano, mode, version) "
        "VALUES ('bud_1', 'Nothing', 'organization', 'total', 'UTC', 0, 'enforcing', 1)"
    )
    await weir.sql("UPDATE budget_versions SET version = version + 1")
    assert (await ask(weir)).status_code == 429
    await weir.sql("UPDATE budgets SET mode = 'observing'")
    await weir.sql("UPDATE budget_versions SET version = version + 1")
    assert (await ask(weir)).status_code == 200


async def test_an_answer_that_is_too_long_is_not_kept_and_the_entry_says_so(
    weir: RunningWeir, start_weir: StartWeir
) -> None:
    small = await start_weir({"idempotency.answer_size_bytes_max": 1_024})
    small.api_key = weir.api_key
    for body in (HELLO, STREAM):
        first = await ask(small, {**body, "max_tokens": 900}, key=f"{body}", script="output_tokens=900")
        assert len(first.content) > 1_024
    await small.wiring.ledger.drain()
    entries = await weir.entries()
    assert [entry["flags"] for entry in entries] == [["answer_not_kept"]] * 2
    again = await ask(small, {**HELLO, "max_tokens": 900}, key=f"{HELLO}")
    assert "idempotent-replayed" not in again.headers


async def test_after_a_day_the_key_is_free(weir: RunningWeir) -> None:
    await ask(weir)
    await weir.wiring.ledger.drain()
    await weir.sql("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    again = await ask(weir, {**HELLO, "temperature": 0})
    assert again.status_code == 200
    assert "idempotent-replayed" not in again.headers


@pytest.mark.parametrize("key", ["", "x" * 256, "a\u00a0b", "tab\there"])
async def test_a_key_that_is_none_is_refused(weir: RunningWeir, key: str) -> None:
    async with weir.http() as client:
        headers = [("idempotency-key", key.encode("latin-1"))]
        answer = await client.post("/v1/chat/completions", json=HELLO, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "Idempotency-Key"


async def test_two_keys_are_refused(weir: RunningWeir) -> None:
    async with weir.http() as client:
        headers = [("idempotency-key", "one"), ("idempotency-key", "two")]
        answer = await client.post("/v1/chat/completions", json=HELLO, headers=headers)
    assert answer.status_code == 400


async def test_a_sound_that_is_given_again_has_one_length(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 5\r\n\r\nSOUND")
    request = {"model": "tts-1", "input": "hello", "voice": "alloy"}
    async with canned_weir.http() as client:
        for is_again in (False, True):
            answer = await client.post("/v1/audio/speech", json=request, headers={"idempotency-key": "sound"})
            await canned_weir.wiring.ledger.drain()
            assert (answer.content, "idempotent-replayed" in answer.headers) == (b"SOUND", is_again)
            assert answer.headers.get_list("content-length") == ["5"]
