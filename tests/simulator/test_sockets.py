"""The simulator's WebSockets: realtime sessions and responses, and what a script makes of them."""

import asyncio
import base64
from typing import Any

import orjson
import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from app.simulator.app import Simulator, create_simulator
from app.simulator.server import serve_simulator

SPEECH = base64.b64encode(b"\x01\x00" * 4_800).decode()
SILENCE = base64.b64encode(bytes(9_600)).decode()


async def answer(connection: Any, **response: Any) -> Any:
    """Return the response that a session answers with."""
    await connection.response.create(response=response)
    return await done(connection)


async def done(connection: Any, *kinds: str) -> Any:
    async for event in connection:
        if event.type in (kinds or ("response.done", "error")):
            return getattr(event, "response", event)
    raise AssertionError("the socket was closed")


async def ask(connection: Any, event: dict[str, Any]) -> Any:
    """Return the error that an event gets."""
    await connection.send({"event_id": "mine", **event})
    error = (await done(connection, "error")).error
    assert error.event_id == "mine"
    return error.code or error.message


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/realtime", {}, 400),
        ("/nothing?model=sim-small", {}, 404),
        ("/realtime?model=sim-small", {"x-simulator": "status=429"}, 429),
        ("/realtime?model=sim-small", {"x-simulator": "nonsense"}, 400),
    ],
)
async def test_a_socket_that_is_not_there_is_an_http_answer(
    base_url: str, simulator: Simulator, path: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(base_url.replace("http", "ws") + path, additional_headers=headers, proxy=None):
            pass
    assert refusal.value.response.status_code == status
    assert "error" in orjson.loads(refusal.value.response.body or b"")
    [call] = simulator.account.calls
    assert (call.status, call.ending) == (status, "refused")


async def test_a_wrong_key_opens_nothing() -> None:
    async with serve_simulator(create_simulator(api_key="right")) as url:
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(url.replace("http", "ws") + "/realtime?model=sim-small", proxy=None):
                pass
    assert refusal.value.response.status_code == 401


async def test_a_session_refuses_what_openai_refuses(client: AsyncOpenAI) -> None:
    async with client.realtime.connect(model="sim-small") as connection:
        too_many = {"type": "session.update", "session": {"max_output_tokens": 5_000}}
        assert await ask(connection, too_many) == "invalid_value"
        assert await ask(connection, {"type": "conversation.item.create", "item": {"type": "dream"}}) == "invalid_value"
        assert await ask(connection, {"type": "input_audio_buffer.append", "audio": "?"}) == "invalid_value"
        assert await ask(connection, {"type": "input_audio_buffer.commit"}) == "input_audio_buffer_commit_empty"
        assert await ask(connection, {"type": "response.cancel"}) == "response_cancel_not_active"
        assert await ask(connection, {"type": "response.unheard_of"}) == "invalid_value"


async def test_what_is_said_is_counted(client: AsyncOpenAI, simulator: Simulator) -> None:
    async with client.realtime.connect(model="sim-small") as connection:
        before = await answer(connection, output_modalities=["text"])
        parts: Any = [{"type": "input_audio", "audio": SPEECH}, {"type": "input_image", "image_url": "data:,"}]
        await connection.conversation.item.create(item={"type": "message", "role": "user", "content": parts})
        after = await answer(connection)
    said = before.usage.output_tokens
    assert after.usage.input_token_details.audio_tokens == 2
    assert after.usage.input_tokens == before.usage.input_tokens + said + 2 + 85
    assert after.usage.output_token_details.audio_tokens == after.usage.output_tokens // 2
    [_, first, second] = simulator.account.calls
    assert (first.prompt_tokens, first.completion_tokens) == (before.usage.input_tokens, said)
    assert (second.prompt_tokens, second.completion_tokens) == (after.usage.input_tokens, after.usage.output_tokens)


async def test_whoever_has_spoken_is_answered_unless_turns_are_not_detected(client: AsyncOpenAI) -> None:
    async with client.realtime.connect(model="sim-small") as connection:
        for audio in (SPEECH, SPEECH, SILENCE):
            await connection.input_audio_buffer.append(audio=audio)
        assert (await done(connection)).status == "completed"
        off: Any = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await connection.session.update(session=off)
        for audio in (SPEECH, SILENCE):
            await connection.input_audio_buffer.append(audio=audio)
        assert await ask(connection, {"type": "response.cancel"}) == "response_cancel_not_active"


async def test_one_answer_at_a_time_which_may_be_cancelled(base_url: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="sk", max_retries=0) as client:
        manager = client.realtime.connect(
            model="sim-small", extra_headers={"x-simulator": "tokens_per_second=100;output_tokens=1000"}
        )
        async with manager as connection:
            await connection.response.create()
            assert await ask(connection, {"type": "response.create"}) == "conversation_already_has_active_response"
            await connection.response.cancel()
            cancelled = await done(connection, "response.done")
    assert cancelled.status == "cancelled"
    assert cancelled.usage.output_tokens < 2_000


async def test_a_hang_is_not_for_ever(base_url: str, simulator: Simulator) -> None:
    simulator.hang_seconds_max, patience = 0.1, simulator.hang_seconds_max
    try:
        for script in ("hang=before", "hang=1"):
            for path, event in (
                ("/realtime?model=sim-small", {"type": "response.create"}),
                ("/responses", {"type": "response.create", "model": "sim-small", "input": "Hello"}),
            ):
                headers = {"x-simulator": script}
                address = base_url.replace("http", "ws") + path
                async with connect(address, additional_headers=headers, proxy=None) as connection:
                    await connection.send(orjson.dumps(event).decode())
                    async with asyncio.timeout(15):
                        await connection.wait_closed()
    finally:
        simulator.hang_seconds_max = patience
    calls = await simulator.account.wait_for_endings(8)
    assert [call.ending for call in calls if call.method == "response.create"] == ["hung"] * 4


async def test_a_server_that_stops_cuts_its_sockets() -> None:
    async with serve_simulator(create_simulator()) as url:
        address = url.replace("http", "ws") + "/realtime?model=sim-small"
        connection = await connect(address, proxy=None)
        await connection.recv()
    with pytest.raises(ConnectionClosedError):
        await connection.recv()
