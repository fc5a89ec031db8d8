"""Upstreams of realtime sessions that do what the simulator is too well-behaved to do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from app.settings import Settings
from app.simulator.app import Simulator
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, run_weir, with_upstream
from tests.gateway.socket_wire import REALTIME, asks, message, opened
from tests.gateway.test_budgeted import make_budget
from tests.gateway.test_realtime import SPEECH, appended, audio_session, nothing_is_held

USAGE = {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42}
CREATED = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
DONE = {"type": "response.done", "response": {"id": "resp_1", "status": "completed", "usage": USAGE}}
Play = Callable[["Stage"], Awaitable[None]]


class Stage:
    """One connection of Weir's, as its upstream sees it."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    async def say(self, *events: dict[str, Any] | bytes) -> None:
        for event in events:
            await self.connection.send(event if isinstance(event, bytes) else orjson.dumps(event).decode())

    async def hear(self, kind: str) -> dict[str, Any]:
        async for text in self.connection:
            event: dict[str, Any] = orjson.loads(text)
            if event["type"] == kind:
                return event
        raise AssertionError(f"no {kind} came")


@asynccontextmanager
async def playing(
    settings: Settings, simulator: Simulator, play: Play, *, stays: bool = True
) -> AsyncIterator[RunningWeir]:
    """A Weir whose upstream does what *play* says on each connection, and then waits for its end if it *stays*."""

    async def handle(connection: ServerConnection) -> None:
        await play(Stage(connection))
        if stays:
            await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with run_weir(with_upstream(settings, f"http://127.0.0.1:{port}/v1"), simulator) as weir:
            yield weir


async def charged(weir: RunningWeir, count: int = 1) -> list[dict[str, Any]]:
    async def is_there() -> bool:
        return len(await weir.entries()) == count

    await until(is_there)
    await nothing_is_held(weir)
    return await weir.entries()


async def test_a_response_that_nobody_could_foresee_is_charged_all_the_same(
    weir: RunningWeir, settings: Settings
) -> None:
    async def play(stage: Stage) -> None:
        second = {"id": "resp_2", "status": "completed", "usage": USAGE}
        await stage.say(CREATED, b"binary", DONE, {"type": "response.done", "response": second})

    async with playing(settings, weir.simulator, play) as other:
        async with opened(other) as wire:
            await wire.until("response.created")
            assert await wire.connection.recv() == b"binary"
            await wire.until("response.done")
            await wire.until("response.done")
        found = await charged(weir, 2)
    for entry in found:
        assert (entry["input_tokens"], entry["output_tokens"]) == (30, 12)
        assert "unreserved" in entry["flags"]


async def test_an_upstream_whose_answers_cannot_be_bounded_is_not_used_under_a_budget(
    weir: RunningWeir, settings: Settings
) -> None:
    async def play(stage: Stage) -> None:
        update = await stage.hear("session.update")
        assert update["session"] == {"type": "realtime", "max_output_tokens": 4_096}
        await stage.say({"type": "error", "error": {"message": "No!", "event_id": update["event_id"]}})

    await make_budget(weir, "1")
    async with playing(settings, weir.simulator, play) as other, opened(other) as wire:
        await wire.send(appended(SPEECH))
        code, _, events = await wire.closed()
    assert (code, [event["error"]["code"] for event in events]) == (1011, ["upstream_invalid_response"])
    await nothing_is_held(weir)
    assert await weir.entries() == []


async def test_the_beta_is_spoken_to_in_its_own_words(weir: RunningWeir, settings: Settings) -> None:
    heard: list[Any] = []

    async def play(stage: Stage) -> None:
        detection = {"type": "server_vad"}
        session = {"max_response_output_tokens": "inf", "turn_detection": detection, "modalities": ["text"]}
        await stage.say({"type": "session.created", "session": session})
        heard.append((await stage.hear("session.update"))["session"])
        await stage.say({"type": "session.updated", "session": {}}, CREATED, DONE)

    await make_budget(weir, "1")
    async with playing(settings, weir.simulator, play) as other:
        async with opened(other, headers={"openai-beta": "realtime=v1"}) as wire:
            await wire.until("session.created")
            await wire.send(appended(SPEECH))
            kinds = [event["type"] for event in await wire.until("response.done")]
        [entry] = await charged(weir)
    assert kinds == ["response.created", "response.done"]
    assert heard == [{"max_response_output_tokens": 4_096}]
    assert entry["flags"] == []


async def test_an_error_without_a_cause_is_about_what_was_asked(weir: RunningWeir, settings: Settings) -> None:
    async def play(stage: Stage) -> None:
        await stage.hear("response.create")
        await stage.say({"type": "error", "error": {"message": "No!", "event_id": "another"}})
        await stage.say({"type": "error", "error": {"message": "No!", "event_id": None}})

    async with playing(settings, weir.simulator, play) as other:
        async with opened(other) as wire:
            await wire.send(asks())
            await wire.until("error")
            await wire.until("error")
        [entry] = await charged(weir)
    assert (entry["ending"], entry["outcome"]) == ("released", "upstream_refused")


async def test_a_usage_that_cannot_be_true_is_not_believed(weir: RunningWeir, settings: Settings) -> None:
    lie = {"id": "resp_1", "status": "completed", "usage": {"input_tokens": "30", "output_tokens": -1}}

    async def play(stage: Stage) -> None:
        await stage.hear("response.create")
        sound = {"type": "response.output_audio.delta", "response_id": "resp_1", "delta": "A" * 6_400}
        await stage.say(CREATED, sound, {"type": "response.done", "response": lie})

    async with playing(settings, weir.simulator, play) as other:
        async with opened(other) as wire:
            await wire.send(message(), asks())
            await wire.until("response.done")
        [entry] = await charged(weir)
    assert (entry["ending"], entry["outcome"]) == ("estimated", "no_usage")
    assert (entry["output_tokens"], entry["output_audio_tokens"]) == (2, 2)


async def test_an_upstream_that_ends_before_it_answers_may_have_begun(weir: RunningWeir, settings: Settings) -> None:
    async def play(stage: Stage) -> None:
        await stage.hear("response.create")

    async with playing(settings, weir.simulator, play, stays=False) as other:
        async with opened(other) as wire:
            await wire.send(message(), asks())
            code, _, events = await wire.closed()
        [entry] = await charged(weir)
    assert (code, events[-1]["error"]["code"]) == (1011, "upstream_unreachable")
    assert (entry["ending"], entry["outcome"], entry["output_tokens"]) == ("estimated", "upstream_broke", 0)


async def test_transcripts_are_charged_whoever_asked_for_them(weir: RunningWeir, settings: Settings) -> None:
    """One comes that nobody asked for, one without usage, and one is still being written when the caller leaves."""
    completed = {"type": "conversation.item.input_audio_transcription.completed", "item_id": "item_0"}

    async def play(stage: Stage) -> None:
        await stage.say({**completed, "usage": {"type": "duration", "seconds": 1.2}})
        await stage.hear("input_audio_buffer.append")
        await stage.say(
            {"type": "input_audio_buffer.committed", "item_id": "item_1"}, {**completed, "item_id": "item_1"}
        )
        await stage.hear("input_audio_buffer.append")
        await stage.say({"type": "input_audio_buffer.committed", "item_id": "item_2"})

    async with playing(settings, weir.simulator, play) as other:
        async with opened(other, f"{REALTIME}&intent=transcription") as wire:
            await wire.until(completed["type"])
            await wire.send(audio_session(transcription={"model": "whisper-1"}, turn_detection=None))
            for _ in range(2):
                await wire.send(appended(SPEECH * 9))
                await wire.until("input_audio_buffer.committed")
        found = await charged(weir, 3)
    assert [(entry["model"], entry["ending"], entry["outcome"]) for entry in found] == [
        ("sim-small", "settled", "completed"),
        ("whisper-1", "estimated", "no_usage"),
        ("whisper-1", "estimated", "client_left"),
    ]
    assert [entry["other_units"] for entry in found] == ['{"audio_seconds": 2}'] * 3


async def test_transcripts_without_usage_are_charged_about_their_tokens_by_a_price_for_those(
    weir: RunningWeir, settings: Settings
) -> None:
    completed = {"type": "conversation.item.input_audio_transcription.completed", "transcript": "A weir."}

    async def play(stage: Stage) -> None:
        for ending in ({}, {"usage": {"type": "duration", "seconds": 1.2}}, None):
            await stage.hear("input_audio_buffer.append")
            await stage.say({"type": "input_audio_buffer.committed", "item_id": f"item_{ending}"})
            if ending is not None:
                await stage.say({**completed, "item_id": f"item_{ending}", **ending})

    async with playing(settings, weir.simulator, play) as other:
        async with opened(other, f"{REALTIME}&intent=transcription") as wire:
            await wire.send(audio_session(transcription={"model": "sim-small"}, turn_detection=None))
            for _ in range(3):
                await wire.send(appended(SPEECH * 9))
                await wire.until("input_audio_buffer.committed")
        found = await charged(weir, 3)
    heard = 2 * 10 * 1_000
    assert [(entry["ending"], entry["outcome"], entry["cost_nano"]) for entry in found] == [
        ("estimated", "no_usage", heard + 2 * 4_000),
        ("estimated", "no_usage", heard),
        ("estimated", "client_left", heard),
    ]


async def test_a_session_that_goes_on_alone_is_paid_for_before_anybody_speaks(
    weir: RunningWeir, settings: Settings
) -> None:
    heard = asyncio.Event()

    async def play(stage: Stage) -> None:
        await stage.hear("session.update")
        heard.set()
        await stage.say(CREATED, DONE)

    mcp = {"type": "mcp", "server_label": "tools", "server_url": "https://tools.example.org"}
    async with playing(settings, weir.simulator, play) as other:
        async with opened(other) as wire:
            await wire.send({"type": "session.update", "session": {"type": "realtime", "tools": [mcp]}})
            await heard.wait()
            assert len(await weir.sql("SELECT 1 FROM reservations")) > 0
            await wire.until("response.done")
        [entry] = await charged(weir)
    assert entry["flags"] == []
    # What tools answer is not known before: the whole context of the model, 128,000 tokens, is held.
    assert entry["ceiling_nano"] >= 128_000 * 1_000


async def test_without_a_budget_a_maximum_that_was_only_wished_for_is_said_again(
    weir: RunningWeir, settings: Settings
) -> None:
    heard: list[Any] = []

    async def play(stage: Stage) -> None:
        heard.append(await stage.hear("response.create"))
        await stage.say(CREATED, DONE)

    async with playing(settings, weir.simulator, play) as other:
        async with opened(other) as wire:
            await wire.send({"type": "session.update", "session": {"type": "realtime", "max_output_tokens": 9}}, asks())
            await wire.until("response.done")
        [entry] = await charged(weir)
    assert heard[0]["response"] == {"max_output_tokens": 9, "output_modalities": ["text"]}
    assert entry["ceiling_nano"] < 10_000_000


@pytest.mark.parametrize("is_asked_late", [True, False])
async def test_a_transcript_that_failed_or_that_nobody_asked_for_is_not_charged(
    weir: RunningWeir, settings: Settings, *, is_asked_late: bool
) -> None:
    writes = audio_session(transcription={"model": "whisper-1"}, turn_detection=None)
    failed = {"type": "conversation.item.input_audio_transcription.failed", "item_id": "item_1", "error": {}}

    async def play(stage: Stage) -> None:
        await stage.hear("input_audio_buffer.commit")
        await stage.say({"type": "input_audio_buffer.committed", "item_id": "item_1"})
        if not is_asked_late:
            await stage.say(failed)
        await stage.hear("session.update")
        await stage.say({"type": "session.updated", "session": writes["session"]})

    async with playing(settings, weir.simulator, play) as other:
        async with opened(other) as wire:
            await wire.send(audio_session(turn_detection=None) if is_asked_late else writes)
            await wire.send(appended(SPEECH), {"type": "input_audio_buffer.commit"})
            await wire.until("input_audio_buffer.committed")
            await wire.send(writes)
            await wire.until("session.updated")
        assert await charged(other, 0) == []
