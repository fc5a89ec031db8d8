import hashlib

import httpx
import orjson
import pytest

from app.simulator.account import ARRIVALS_MAX, CALLS_MAX, Account
from app.simulator.app import Simulator
from app.simulator.call import Ending
from tests.simulator.wire import ASK, Wire

HEADERS = [(b"x-request-id", b"mine")]


async def test_a_record_tells_what_arrived_and_what_was_answered(wire: Wire, simulator: Simulator) -> None:
    document = {**ASK, "model": "gpt-4o;cached_tokens=2", "stream": True, "unknown": [1, 2]}
    received = await wire.ask(document, x_request_id="weir-1", authorization="Bearer sk-secret", x_custom="a")
    (call,) = simulator.account.calls
    assert (call.request_id, call.id) == ("weir-1", received.headers["x-request-id"])
    assert (call.method, call.path, call.model, call.stream) == ("POST", "/v1/chat/completions", "gpt-4o", True)
    assert (call.status, call.ending, call.cached_tokens) == (200, "finished", 2)
    assert call.completion_tokens == call.completion_tokens_sent == len(received.contents())
    assert call.bytes_sent == sum(len(event) + 8 for event in received.events())
    assert call.body == orjson.dumps(document)
    assert call.headers["x-custom"] == "a"
    digest = hashlib.sha256(b"sk-secret").hexdigest()[:16]
    assert call.headers["authorization"] == f"Bearer sha256:{digest}"


async def test_a_record_is_open_until_its_ending_is_known(wire: Wire, simulator: Simulator) -> None:
    connection = await wire.send({**ASK, "stream": True}, x_simulator="hang=1")
    for _ in range(2):
        await connection.read_event()
    (call,) = simulator.account.calls
    assert (call.ending, call.completion_tokens_sent) == (None, 1)
    assert (simulator.account.arrived_count, simulator.account.ended_count) == (1, 0)
    await connection.close()
    await simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"


async def test_waiting_for_more_than_comes_times_out(simulator: Simulator) -> None:
    with pytest.raises(TimeoutError, match="0 calls arrived and 0 ended"):
        await simulator.account.wait_for_endings(1, timeout_seconds=0.01)


async def test_the_account_is_paged_over_http(base_url: str, simulator: Simulator) -> None:
    root = base_url.removesuffix("/v1")
    async with httpx.AsyncClient(base_url=root) as http:
        for number in range(5):
            await http.post("/v1/chat/completions", json=ASK, headers={"x-request-id": f"weir-{number}"})
        await http.get("/v1/nowhere")
        first = (await http.get("/simulator/account", params={"limit": 2})).json()
        rest = (await http.get("/simulator/account", params={"after": first["data"][-1]["sequence"]})).json()
        assert (await http.get("/simulator/account?limit=x")).status_code == 400
        assert (await http.post("/simulator/account")).status_code == 404
    assert [call["request_id"] for call in first["data"]] == ["weir-0", "weir-1"]
    assert first["has_more"]
    assert [call["request_id"] for call in rest["data"]] == ["weir-2", "weir-3", "weir-4", None]
    assert not rest["has_more"]
    assert orjson.loads(rest["data"][0]["body"]) == ASK
    assert (rest["arrived"], rest["ended"]) == (6, 6)
    calls = simulator.account.calls
    assert rest["totals"] == {
        "finished": 5,
        "refused": 1,
        "prompt_tokens": sum(call.prompt_tokens for call in calls),
        "cached_tokens": 0,
        "completion_tokens": sum(call.completion_tokens for call in calls),
        "completion_tokens_sent": sum(call.completion_tokens for call in calls),
    }


async def test_a_reset_over_http_forgets_every_call(base_url: str, simulator: Simulator) -> None:
    async with httpx.AsyncClient(base_url=base_url.removesuffix("/v1")) as http:
        await http.get("/v1/models")
        before = (await http.get("/simulator/account")).json()["data"][0]["sequence"]
        assert (await http.delete("/simulator/account")).json() == {"object": "simulator.account", "deleted": True}
        assert (await http.get("/simulator/account")).json()["data"] == []
        await http.get("/v1/models")
        after = (await http.get("/simulator/account")).json()["data"]
    assert [call["sequence"] for call in after] == [before + 1]


def test_a_call_that_was_open_at_the_reset_is_not_counted() -> None:
    account = Account()
    call = account.open("GET", "/", HEADERS)
    account.reset()
    account.close(call, Ending.FINISHED)
    assert (account.arrived_count, account.ended_count, account.totals) == (0, 0, {})


def test_the_first_ending_stays() -> None:
    account = Account()
    call = account.open("GET", "/", HEADERS)
    account.close(call, Ending.CUT)
    account.close(call, Ending.FINISHED)
    assert (call.ending, account.ended_count) == ("cut", 1)


def test_old_records_go_and_their_headers_and_bodies_before_them() -> None:
    account = Account()
    for _ in range(CALLS_MAX + 2):
        call = account.open("GET", "/", HEADERS)
        account.close(call, Ending.FINISHED)
    calls = account.calls
    assert (len(calls), calls[0].sequence, account.ended_count) == (CALLS_MAX, 3, CALLS_MAX + 2)
    assert sum(call.arrival is not None for call in calls) == ARRIVALS_MAX
    assert (calls[0].headers, calls[0].body, calls[0].request_id) == ({}, b"", "mine")
    assert [call.sequence for call in account.find_after(0, 2)] == [3, 4]
    assert [call.sequence for call in account.find_after(5, 2)] == [6, 7]
    assert account.find_after(CALLS_MAX + 2, 2) == []
    assert "headers" not in calls[0].view()


async def test_a_body_is_kept_up_to_its_first_64_kib(wire: Wire, simulator: Simulator) -> None:
    document = {"model": "m", "messages": [{"role": "user", "content": "x" * 200_000}]}
    assert (await wire.ask(document)).status == 200
    (call,) = simulator.account.calls
    assert call.body == orjson.dumps(document)[: 64 * 1024]
    assert call.arrival is not None
    assert call.arrival.body_size_bytes == len(orjson.dumps(document))
