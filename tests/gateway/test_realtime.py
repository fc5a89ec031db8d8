"""Realtime sessions: as they are directly, and every response reserved before it can begin and charged after it."""

import asyncio
import base64
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlencode

import pytest
from openai import AsyncOpenAI
from websockets.exceptions import InvalidStatus

from app.simulator.call import Call
from tests.fixtures.waiting import until
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir, StartWeir
from tests.gateway.socket_wire import REALTIME, Wire, asks, message, opened, refused
from tests.gateway.test_budgeted import make_budget, window

SPEECH = base64.b64encode(b"\x01\x00" * 4_800).decode()
SILENCE = base64.b64encode(b"\x00\x00" * 4_800).decode()
ALIKE = ("type", "delta", "transcript", "text")


def appended(audio: str) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": audio}


def audio_session(**audio_input: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", "audio": {"input": audio_input}}}


def answers(weir: RunningWeir) -> list[Call]:
    """The responses and transcripts of the upstream's account."""
    return [call for call in weir.arrivals if call.method != "GET"]


async def entries(weir: RunningWeir) -> list[dict[str, Any]]:
    """The ledger, once it has as many entries as the upstream's account, with the same tokens in them."""
    await until(lambda: all(call.ending is not None for call in answers(weir)))
    found: list[dict[str, Any]] = []

    async def is_whole() -> bool:
        found[:] = await weir.entries()
        return len(found) >= len(answers(weir))

    await until(is_whole)
    assert len(found) == len(answers(weir))
    return found


async def nothing_is_held(weir: RunningWeir) -> None:
    async def is_so() -> bool:
        return not await weir.sql("SELECT 1 FROM reservations")

    await until(is_so)


async def books_agree(weir: RunningWeir) -> None:
    """The ledger says of each response what the upstream's account says."""
    for entry, call in zip(await entries(weir), answers(weir), strict=True):
        counted = (entry["model"], entry["input_tokens"], entry["cached_input_tokens"], entry["output_tokens"])
        assert counted == (call.model, call.prompt_tokens, call.cached_tokens, call.completion_tokens)
        assert (entry["ending"], entry["outcome"], entry["flags"]) == ("settled", "completed", [])
        assert entry["cost_nano"] <= entry["ceiling_nano"]
    await nothing_is_held(weir)


async def converse(client: AsyncOpenAI, model: str) -> list[Any]:
    """What a program sees that speaks twice, in text and with its voice, and cancels an answer."""
    seen: list[Any] = []

    async def see(connection: Any, last: str = "response.done") -> Any:
        async for event in connection:
            shown = event.to_dict()
            seen.append([shown.get(name) for name in ALIKE])
            if event.type == last:
                return event
        return None

    async with client.realtime.connect(model=model) as connection:
        await see(connection, "session.created")
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        updated = await see(connection, "session.updated")
        seen.append(updated.session.output_modalities)
        item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        seen.append((await see(connection)).response.usage.to_dict())
        await connection.input_audio_buffer.append(audio=SPEECH)
        await connection.input_audio_buffer.append(audio=SILENCE)
        seen.append((await see(connection)).response.usage.to_dict())
        await connection.response.create(response={"output_modalities": ["audio"], "max_output_tokens": 8})
        done = await see(connection)
        seen.append([done.response.status, done.response.usage.to_dict()])
        await connection.send({"type": "response.cancel", "event_id": "mine"})
        seen.append((await see(connection, "error")).error.to_dict())
    return seen


async def test_the_official_sdk_sees_what_it_sees_directly(
    weir: RunningWeir, shared_simulator: tuple[Any, str]
) -> None:
    async with weir.openai() as through, AsyncOpenAI(base_url=shared_simulator[1], api_key=UPSTREAM_KEY) as direct:
        expected = await converse(direct, "sim-small")
        weir.simulator.account.reset()
        assert await converse(through, "sim-small") == expected
    await books_agree(weir)
    assert len(await weir.entries()) == 3


async def test_the_beta_of_the_sdk_sees_what_it_sees_directly(weir: RunningWeir) -> None:
    address = weir.base_url.replace("http://", "ws://") + "/v1"
    async with (
        weir.openai(websocket_base_url=address) as client,
        client.beta.realtime.connect(model="sim-small") as connection,
    ):
        assert (await connection.recv()).type == "session.created"
        await connection.response.create()
        kinds = [event.type async for event in until_done(connection)]
    assert kinds[-1] == "response.done"
    await books_agree(weir)


async def until_done(connection: Any) -> Any:
    async for event in connection:
        yield event
        if event.type == "response.done":
            return


async def test_usage_is_charged_with_its_audio_and_what_was_cached(weir: RunningWeir) -> None:
    async with opened(weir, "/v1/realtime?model=gpt-realtime", headers={"x-simulator": "cached_tokens=3"}) as wire:
        await wire.send(message(), {"type": "response.create"})
        [*_, done] = await wire.until("response.done")
    usage = done["response"]["usage"]
    text, cached = usage["input_tokens"], 3
    spoken = usage["output_token_details"]["audio_tokens"]
    [entry] = await entries(weir)
    assert (entry["input_tokens"], entry["cached_input_tokens"]) == (text, cached)
    assert (entry["output_tokens"], entry["output_audio_tokens"]) == (usage["output_tokens"], spoken)
    # $4.00 and $0.40 for text in, $16 and $64 for text and sound out, for a million tokens.
    written = usage["output_tokens"] - spoken
    assert entry["cost_nano"] == (text - cached) * 4_000 + cached * 400 + written * 16_000 + spoken * 64_000


async def test_all_responses_of_a_session_have_its_request_id(weir: RunningWeir) -> None:
    async with opened(weir) as wire:
        assert wire.connection.response is not None
        request_id = wire.connection.response.headers["x-request-id"]
        for _ in range(2):
            await wire.send(asks())
            await wire.until("response.done")
    found = await entries(weir)
    assert [entry["request_id"] for entry in found] == [request_id, request_id]
    assert len({entry["upstream_request_id"] for entry in found}) == 2
    assert all(entry["upstream_request_id"].startswith("resp_") for entry in found)


async def test_what_is_written_down_is_charged_by_its_own_model(weir: RunningWeir) -> None:
    async with opened(weir) as wire:
        await wire.send(audio_session(transcription={"model": "gpt-4o-transcribe"}, turn_detection=None))
        await wire.send(appended(SPEECH), {"type": "input_audio_buffer.commit"})
        await wire.until("conversation.item.input_audio_transcription.completed")
        await wire.send(asks())
        await wire.until("response.done")
    by_operation = {entry["operation"]: entry for entry in await entries(weir)}
    transcript = by_operation["realtime.transcription"]
    assert (transcript["model"], transcript["input_tokens"], transcript["input_audio_tokens"]) == (
        "gpt-4o-transcribe",
        2,
        2,
    )
    assert transcript["cost_nano"] == 2 * 6_000 + 2 * 10_000
    assert by_operation["realtime"]["model"] == "sim-small"
    await nothing_is_held(weir)


async def test_a_session_that_only_writes_down_needs_no_model_in_its_address(weir: RunningWeir) -> None:
    async with opened(weir, "/v1/realtime?intent=transcription") as wire:
        await wire.send(audio_session(transcription={"model": "whisper-1"}, turn_detection=None))
        await wire.send(appended(SPEECH), {"type": "input_audio_buffer.commit"})
        await wire.until("conversation.item.input_audio_transcription.completed")
    [entry] = await entries(weir)
    assert (entry["operation"], entry["model"], entry["other_units"]) == (
        "realtime.transcription",
        "whisper-1",
        '{"audio_seconds": 1}',
    )


async def test_a_model_that_must_not_be_called_writes_nothing_down(weir: RunningWeir) -> None:
    await weir.sql("UPDATE projects SET model_mode = 'allow_list', model_ids = '{sim-small}'")
    await weir.wiring.tenants.model_permissions.load()
    async with opened(weir) as wire:
        await wire.send({**audio_session(transcription={"model": "whisper-1"}), "event_id": "mine"})
        [*_, error] = await wire.until("error")
        assert (error["error"]["code"], error["error"]["event_id"]) == ("model_not_found", "mine")
        await wire.send(asks())
        await wire.until("response.done")
    assert (await refused(weir, "/v1/realtime?model=gpt-realtime"))[1]["code"] == "model_not_found"


@pytest.mark.parametrize("name", ["whisper-1\0", "whisper" * 100])
async def test_a_model_that_cannot_be_one_writes_nothing_down(weir: RunningWeir, name: str) -> None:
    async with opened(weir) as wire:
        await wire.send(audio_session(transcription={"model": name}))
        [*_, error] = await wire.until("error")
        assert error["error"]["param"] == "model"
    status, error, _ = await refused(weir, f"/v1/realtime?{urlencode({'model': name})}")
    assert (status, error["param"]) == (400, "model")


@pytest.mark.parametrize(("script", "outcome"), [("cut_after=3", "upstream_broke"), ("eof_after=3", "upstream_broke")])
async def test_a_session_whose_upstream_breaks_says_so_and_is_charged_an_estimate(
    weir: RunningWeir, script: str, outcome: str
) -> None:
    async with opened(weir, headers={"x-simulator": script}) as wire:
        await wire.send(message(), asks())
        code, _, events = await wire.closed()
    assert code == 1011
    assert (events[-1]["type"], events[-1]["error"]["code"]) == ("error", "upstream_unreachable")
    [entry] = await entries(weir)
    assert (entry["ending"], entry["outcome"]) == ("estimated", outcome)
    assert entry["input_tokens"] > 0
    assert entry["output_tokens"] >= 3
    await nothing_is_held(weir)


async def test_an_upstream_that_falls_silent_in_an_answer_is_given_up(start_weir: StartWeir) -> None:
    weir = await start_weir({"upstream.between_chunks_timeout_seconds": 1})
    async with opened(weir, headers={"x-simulator": "hang=2"}) as wire:
        await wire.send(asks())
        code, _, events = await wire.closed()
    assert (code, events[-1]["error"]["code"]) == (1011, "upstream_timeout")
    assert [entry["outcome"] for entry in await weir.entries()][-1] == "upstream_broke"


async def test_a_response_without_usage_is_charged_an_estimate(weir: RunningWeir) -> None:
    async with opened(weir, headers={"x-simulator": "no_usage=1"}) as wire:
        await wire.send(message(), asks())
        await wire.until("response.done")
    [entry] = await entries(weir)
    assert (entry["ending"], entry["outcome"]) == ("estimated", "no_usage")
    assert entry["output_tokens"] > 0


async def test_a_response_that_fails_is_charged_what_it_says(weir: RunningWeir) -> None:
    async with opened(weir, headers={"x-simulator": "error_after=2"}) as wire:
        await wire.send(asks())
        [*_, done] = await wire.until("response.done")
        assert done["response"]["status"] == "failed"
    [entry] = await entries(weir)
    assert (entry["ending"], entry["outcome"], entry["output_tokens"]) == ("settled", "upstream_broke", 2)


async def test_what_cannot_be_read_is_relayed_as_it_came(weir: RunningWeir) -> None:
    async with opened(weir, headers={"x-simulator": "malformed=json"}) as wire:
        await wire.send(asks())
        texts: list[str] = []
        while '"response.done"' not in (texts or [""])[-1]:
            texts.append(str(await wire.connection.recv()))
    assert '{"type": "response.' in texts
    await books_agree(weir)


async def test_a_caller_who_leaves_pays_for_what_was_relayed(weir: RunningWeir) -> None:
    async with opened(weir, headers={"x-simulator": "tokens_per_second=5"}) as wire:
        await wire.send(message(), asks())
        await wire.until("response.output_text.delta")
    [entry] = await entries(weir)
    assert (entry["ending"], entry["outcome"]) == ("estimated", "client_left")
    assert 0 < entry["cost_nano"] <= entry["ceiling_nano"]
    await nothing_is_held(weir)
    [connection, response] = weir.arrivals
    assert (connection.ending, response.ending) == ("client_left", "client_left")


async def test_what_the_upstream_refuses_costs_nothing(weir: RunningWeir) -> None:
    async with opened(weir, headers={"x-simulator": "tokens_per_second=50"}) as wire:
        await wire.send(asks(), {**asks(), "event_id": "second"})
        [*_, error] = await wire.until("error")
        assert error["error"]["event_id"] == "second"
        await wire.until("response.done")
    await until(lambda: len(weir.arrivals) == 2)

    async def both() -> bool:
        return len(await weir.entries()) == 2

    await until(both)
    by_ending = {entry["ending"]: entry for entry in await weir.entries()}
    assert by_ending["settled"]["outcome"] == "completed"
    assert (by_ending["released"]["outcome"], by_ending["released"]["cost_nano"]) == ("upstream_refused", 0)


class TestBudgets:
    """Under a budget that refuses."""

    async def test_as_many_responses_pass_as_fit(self, weir: RunningWeir) -> None:
        await make_budget(weir, "0.0080")
        async with opened(weir, headers={"x-simulator": "output_tokens=200"}) as wire:
            last: dict[str, Any] = {}
            while last.get("type") != "error":
                await wire.send(asks(max_output_tokens=200))
                [*_, last] = await wire.until("response.done", "error")
        assert last["error"]["code"] == "insufficient_quota"
        await books_agree(weir)
        spent, ceilings = 0, []
        for entry in await weir.entries():
            assert spent + entry["ceiling_nano"] <= 8_000_000
            spent += entry["cost_nano"]
            ceilings.append(entry["ceiling_nano"])
        growth = ceilings[-1] - ceilings[-2]  # by the answer before, and the event that asked for it
        assert spent + ceilings[-1] + growth > 8_000_000, "the one that was refused would have fitted"
        assert await window(weir) == (spent, 0)

    async def test_a_session_goes_on_after_a_refusal(self, weir: RunningWeir) -> None:
        await make_budget(weir, "0.006")
        async with opened(weir) as wire:
            await wire.send({**asks(max_output_tokens=4_000), "event_id": "dear"})
            [*_, error] = await wire.until("error")
            assert (error["error"]["code"], error["error"]["event_id"]) == ("insufficient_quota", "dear")
            await wire.send(asks(max_output_tokens=20))
            await wire.until("response.done")
        await books_agree(weir)

    async def test_parallel_sessions_admit_exactly_as_many_as_fit(self, weir: RunningWeir) -> None:
        await make_budget(weir, "0.0110")
        async with AsyncExitStack() as stack:
            script = {"x-simulator": "output_tokens=20;latency_ms=1500"}
            wires = [await stack.enter_async_context(opened(weir, headers=script)) for _ in range(8)]

            async def ask(wire: Wire) -> str:
                await wire.send(asks(max_output_tokens=100))
                [*_, last] = await wire.until("response.done", "error")
                return str(last["error"]["code"] if last["type"] == "error" else last["type"])

            said = await asyncio.gather(*map(ask, wires))
        ceilings = {entry["ceiling_nano"] for entry in await entries(weir)}
        assert len(ceilings) == 1
        assert said.count("response.done") == 11_000_000 // ceilings.pop()
        assert set(said) == {"response.done", "budget_reserved"}
        await books_agree(weir)

    async def test_an_answer_without_a_maximum_gets_one(self, weir: RunningWeir) -> None:
        await make_budget(weir, "0.0030")
        async with opened(weir, headers={"x-simulator": "output_tokens=10000"}) as wire:
            await wire.send(asks())
            [*_, done] = await wire.until("response.done", "error")
        assert done["response"]["status"] == "incomplete"
        assert 256 <= done["response"]["max_output_tokens"] < 750
        await books_agree(weir)
        assert (await window(weir))[0] <= 3_000_000

    async def test_a_maximum_of_the_session_is_kept(self, weir: RunningWeir) -> None:
        await make_budget(weir, "1")
        async with opened(weir, headers={"x-simulator": "output_tokens=1000"}) as wire:
            await wire.send({"type": "session.update", "session": {"type": "realtime", "max_output_tokens": 7}}, asks())
            [*_, wished] = await wire.until("response.done")
            await wire.send(asks())
            [*_, agreed] = await wire.until("response.done")
        for done in (wished, agreed):
            assert done["response"]["usage"]["output_tokens"] == 7
        await books_agree(weir)

    async def test_what_begins_by_itself_is_held_and_bounded_before(self, weir: RunningWeir) -> None:
        await make_budget(weir, "0.50")
        async with opened(weir, headers={"x-simulator": "output_tokens=10"}) as wire:
            await wire.send(appended(SPEECH))
            await until(lambda: _holds(weir, 1))
            updates = await _updates(wire)
            assert not updates, "the caller did not ask for new settings"
            await wire.send({"type": "session.update", "session": {"type": "realtime", "max_output_tokens": 4_000}})
            [*_, updated] = await wire.until("session.updated")
            assert updated["session"]["max_output_tokens"] == 4_000
            await wire.send({"type": "session.update", "session": {"type": "realtime", "max_output_tokens": "inf"}})
            [*_, updated] = await wire.until("session.updated")
            assert updated["session"]["max_output_tokens"] == 4_096
            await wire.send(appended(SILENCE))
            await wire.until("response.done")
        await books_agree(weir)

    async def test_a_session_whose_next_answer_cannot_be_paid_ends_after_the_one_that_is(
        self, weir: RunningWeir
    ) -> None:
        await make_budget(weir, "0.0300")
        async with opened(weir, headers={"x-simulator": "output_tokens=50"}) as wire:
            await wire.send(appended(SPEECH), appended(SILENCE))
            code, reason, events = await wire.closed()
        assert (code, reason) in ((1008, "insufficient_quota"), (1008, "budget_reserved"))
        kinds = [event["type"] for event in events]
        assert kinds.index("error") > kinds.index("response.created")
        assert "response.done" in kinds
        await books_agree(weir)
        assert (await window(weir))[0] <= 30_000_000

    async def test_sound_that_could_not_be_answered_is_not_sent(self, weir: RunningWeir) -> None:
        await make_budget(weir, "0.0001")
        async with opened(weir) as wire:
            await wire.send(appended(SPEECH))
            code, reason, events = await wire.closed()
        assert (code, reason) == (1008, "insufficient_quota")
        assert events[-1]["error"]["code"] == "insufficient_quota"
        await nothing_is_held(weir)
        assert await weir.entries() == []

    async def test_a_model_without_a_price_is_refused(self, weir: RunningWeir) -> None:
        await make_budget(weir, "1")
        async with opened(weir, "/v1/realtime?model=unheard-of") as wire:
            await wire.send(asks())
            [*_, error] = await wire.until("error")
        assert error["error"]["code"] == "model_not_priced"


async def _holds(weir: RunningWeir, count: int) -> bool:
    return len(await weir.sql("SELECT 1 FROM reservations")) == count


async def _updates(wire: Wire) -> list[dict[str, Any]]:
    """The settings that were announced before the answer to something harmless."""
    await wire.send({"type": "input_audio_buffer.unknown"})
    return [event for event in await wire.until("error") if event["type"] == "session.updated"]


class TestLimits:
    """Under limits."""

    async def test_a_session_is_one_request_and_its_answers_count_their_tokens(self, weir: RunningWeir) -> None:
        await limit(weir, counts="requests", maximum=1)
        async with opened(weir) as wire:
            for _ in range(3):
                await wire.send(asks(max_output_tokens=50))
                await wire.until("response.done")
            status, error, headers = await refused(weir)
        assert (status, error["code"]) == (429, "rate_limit_exceeded")
        assert "retry-after" in headers

    async def test_an_answer_over_the_limit_of_tokens_is_refused_and_the_session_goes_on(
        self, weir: RunningWeir
    ) -> None:
        await limit(weir, counts="tokens", maximum=2_000)
        async with opened(weir) as wire:
            await wire.send(asks(max_output_tokens=4_000))
            [*_, error] = await wire.until("error")
            assert error["error"]["code"] == "rate_limit_exceeded"
            await wire.send(asks(max_output_tokens=20))
            await wire.until("response.done")
        await books_agree(weir)

    async def test_an_answer_that_began_by_itself_over_the_limit_is_cancelled(self, weir: RunningWeir) -> None:
        await limit(weir, counts="tokens", maximum=1_500)
        async with opened(weir, headers={"x-simulator": "output_tokens=500;tokens_per_second=500"}) as wire:
            await wire.send(asks(max_output_tokens=800))
            await wire.until("response.done")
            await wire.send(appended(SPEECH), appended(SILENCE))
            [*_, error] = await wire.until("error")
            [*_, done] = await wire.until("response.done")
        assert error["error"]["code"] == "rate_limit_exceeded"
        assert done["response"]["status"] == "cancelled"

    async def test_a_place_is_free_again_when_the_session_ends(self, weir: RunningWeir) -> None:
        await limit(weir, counts="concurrent", maximum=1)
        async with opened(weir):
            assert (await refused(weir))[0] == 429

        async def is_free() -> bool:
            try:
                async with opened(weir):
                    return True
            except InvalidStatus:
                return False

        await until(is_free)


async def limit(weir: RunningWeir, **changes: Any) -> None:
    async with weir.http(weir.admin_key) as admin:
        asked = {"name": "test", "scope": "organization", "mode": "enforcing", **changes}
        if changes["counts"] != "concurrent":
            asked["per"] = "day"
        answer = await admin.post("/v1/gateway/limits", json=asked)
    assert answer.status_code == 200, answer.text
    await weir.wiring.limits.service.load()


async def test_a_killed_upstream_connection_leaves_a_path_to_the_next(weir: RunningWeir) -> None:
    async with opened(weir, headers={"x-simulator": "cut_after=1"}) as wire:
        await wire.send(asks())
        await wire.closed()
    async with opened(weir) as wire:
        await wire.send(asks())
        await wire.until("response.done")
    assert len(await entries(weir)) == 2


async def test_what_goes_upstream_is_weirs_credential_and_no_other(weir: RunningWeir) -> None:
    names = ("realtime", f"openai-insecure-api-key.{weir.api_key}", "openai-beta.realtime-v1")
    async with opened(weir, headers={"authorization": "", "cookie": "a=b"}, subprotocols=names) as wire:
        await wire.send(asks())
        await wire.until("response.done")
        assert wire.connection.subprotocol == "realtime"
    headers = weir.arrivals[0].headers
    assert headers["sec-websocket-protocol"] == "realtime,openai-beta.realtime-v1"
    assert "cookie" not in headers
    assert weir.api_key not in str(headers)
    await books_agree(weir)


async def test_unknown_parameters_of_the_address_go_upstream(weir: RunningWeir) -> None:
    async with opened(weir, f"{REALTIME}&safety=a%20b") as wire:
        assert (await wire.receive())["session"]["model"] == "sim-small"
