"""What the next response of a realtime session can cost, told from what was said: more in doubt, never less."""

import base64
from typing import Any

import pytest

from app.errors import InvalidRequest
from app.gateway.operations.operation import MeteredRequest
from app.gateway.operations.realtime import RealtimeResponse, RealtimeTranscription
from app.gateway.realtime import Conversation, seconds_most
from app.gateway.realtime_events import clamped, maximum_of, pieces_of, refuse_variants, with_maximum
from app.gateway.realtime_usage import realtime_usage
from app.gateway.socket import read_event
from app.gateway.usage import spoken_tokens
from app.prices.service import Bound
from app.prices.usage import Usage

A_SECOND = base64.b64encode(bytes(48_000)).decode()
REQUEST = MeteredRequest("m", Bound(1, None), b"body")
A_SECOND_OF_G711 = base64.b64encode(bytes(8_000)).decode()


def session(**members: Any) -> dict[str, Any]:
    return {"type": "session.updated", "session": members}


def wish(**members: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": members}


def item(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": list(content)}}


def append(audio: object = A_SECOND) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": audio}


def test_text_is_a_token_for_each_of_its_bytes_at_most() -> None:
    conversation = Conversation()
    before = conversation.tokens_most
    conversation.sent(item({"type": "input_text", "text": "ä" * 100}), 300)
    assert conversation.tokens_most == before + 300
    assert not conversation.bound(None).hears


@pytest.mark.parametrize("audio", [A_SECOND, A_SECOND_OF_G711])
def test_sound_is_many_times_the_ten_tokens_a_second_that_it_is(audio: str) -> None:
    conversation = Conversation()
    before = conversation.tokens_most
    conversation.sent(append(audio), len(audio))
    assert 100 <= conversation.tokens_most - before <= 1_000
    assert conversation.bound(None).hears
    assert conversation.untranscribed_characters == len(audio)
    assert 1 <= seconds_most(len(audio)) <= 7


def test_sound_and_images_in_items_are_not_text() -> None:
    conversation = Conversation()
    before = conversation.tokens_most
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 900_000}
    sound = {"type": "input_audio", "audio": A_SECOND}
    conversation.sent(item(image, sound, {"type": "input_image", "image_url": {"odd": 1}}), 1_000_000)
    bound = conversation.bound(None)
    assert (bound.sees, bound.hears) == (True, True)
    assert 100_000 < conversation.tokens_most - before < 200_000


def test_a_frame_of_sound_that_is_none_counts_as_long_as_it_is() -> None:
    conversation = Conversation()
    conversation.sent(append(None), 1_000)
    assert conversation.appended_characters == 1_000


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "response.create", "type": "x"}',
        '{"type": "x", "Type": "response.create"}',
        '{"type": "x", "t\\u0079pe": "response.create"}',
        '{"type": "response.create", "Response": {}}',
        '{"type": "session.update", "session": {"max_output_tokens": 9000, "voice": "a", "max_output_tokens": 5}}',
    ],
)
def test_an_event_that_can_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_event(text)


def test_a_maximum_in_another_case_is_refused() -> None:
    refuse_variants({"type": "response.create", "response": {"max_output_tokens": 5}, "session": None})
    with pytest.raises(InvalidRequest, match="MAX_output_tokens"):
        refuse_variants({"type": "session.update", "session": {"MAX_output_tokens": 5}})


def test_settings_replace_each_other_once_they_are_agreed_to() -> None:
    conversation = Conversation()
    conversation.told(session(instructions="a" * 1_000), "ä" * 525)
    agreed = conversation.tokens_most
    conversation.sent(wish(instructions="a" * 3_000), 3_050)
    assert conversation.tokens_most == agreed + 3_050
    conversation.told(session(instructions="a" * 3_000), b"a" * 3_050)
    assert conversation.tokens_most == agreed + 2_000


def test_answers_are_what_the_next_one_reads() -> None:
    conversation = Conversation()
    before = conversation.tokens_most, conversation.tokens_about
    conversation.answered(70, has_audio=True)
    assert (conversation.tokens_most, conversation.tokens_about) == (before[0] + 70, before[1] + 70)
    assert conversation.bound(None).hears


@pytest.mark.parametrize(
    ("detection", "may_start"),
    [
        ({"type": "server_vad"}, True),
        ({"type": "semantic_vad", "create_response": True}, True),
        ({"type": "server_vad", "create_response": False}, False),
        (None, False),
        ("what is this", True),
    ],
)
@pytest.mark.parametrize("is_beta", [False, True])
def test_responses_may_start_once_there_is_sound_and_turns_are_detected(
    detection: Any, may_start: bool, is_beta: bool
) -> None:
    conversation = Conversation()
    settings = {"turn_detection": detection}
    conversation.told(session(**(settings if is_beta else {"audio": {"input": settings}})), "")
    before = conversation.may_start
    conversation.sent(append(), 1)
    assert (before, conversation.may_start) == (False, may_start)


def test_before_a_session_says_how_it_is_it_may_do_anything() -> None:
    conversation = Conversation()
    conversation.sent(append(), 1)
    assert conversation.may_start
    assert conversation.bound(None).speaks


def test_a_wish_only_counts_as_far_as_it_makes_things_dearer() -> None:
    conversation = Conversation()
    off = {"audio": {"input": {"turn_detection": None}}, "output_modalities": ["text"]}
    conversation.sent(append(), 1)
    conversation.sent(wish(**off), 100)
    wished = (conversation.may_start, conversation.bound(None).speaks)
    conversation.told(session(**off), "")
    agreed = (conversation.may_start, conversation.bound(None).speaks)
    conversation.sent(wish(audio={"input": {"turn_detection": {"type": "server_vad"}}}, modalities=["audio"]), 100)
    dearer = (conversation.may_start, conversation.bound(None).speaks)
    assert (wished, agreed, dearer) == ((True, True), (False, False), (True, True))


def test_a_timeout_starts_responses_in_silence() -> None:
    conversation = Conversation()
    detection = {"type": "server_vad", "idle_timeout_ms": 5_000}
    conversation.told(session(audio={"input": {"turn_detection": detection}}), "")
    assert conversation.may_start


@pytest.mark.parametrize(
    "settings", [{"prompt": {"id": "pmpt_1"}}, {"tools": [{"type": "mcp"}]}], ids=["stored prompt", "tools of servers"]
)
def test_what_is_only_named_may_fill_the_context(settings: dict[str, Any]) -> None:
    told, asked = Conversation(), Conversation()
    told.told(session(**settings), "")
    asked.sent({"type": "response.create", "response": settings}, 100)
    assert told.bound(None).fills_context
    assert asked.bound(None).fills_context


def test_a_response_may_be_in_text_in_a_session_that_speaks() -> None:
    conversation = Conversation()
    assert not conversation.bound(5, {"response": {"output_modalities": ["text"]}}).speaks
    assert conversation.bound(5, {"response": {"modalities": ["audio", "text"]}}).speaks
    assert conversation.bound(5, {"response": None}).speaks
    assert conversation.bound(5).output_tokens == 5


def test_what_is_written_down_is_what_was_committed() -> None:
    conversation = Conversation()
    conversation.told(session(audio={"input": {"transcription": {"model": "whisper-1"}}}), "")
    assert conversation.transcription_model == "whisper-1"
    conversation.sent(append(A_SECOND * 3), len(A_SECOND) * 3)
    conversation.told({"type": "input_audio_buffer.committed", "item_id": "a"}, "")
    conversation.sent(append(A_SECOND), len(A_SECOND))
    assert conversation.committed_seconds() == 3
    assert conversation.transcribed("a") == 3
    assert conversation.untranscribed_characters == len(A_SECOND)
    assert (conversation.transcribed("unknown"), conversation.committed_seconds()) == (0, 0)
    conversation.sent(wish(audio={"input": {"transcription": None}}), 100)
    assert conversation.transcription_model == "whisper-1"
    conversation.told(session(audio={"input": {"transcription": None}}), "")
    assert conversation.transcription_model is None


def test_maxima_are_kept_down_wherever_they_are() -> None:
    event = {"type": "x", "session": {"max_output_tokens": 900}, "response": {"max_response_output_tokens": "inf"}}
    assert clamped(event, 100) == {
        "type": "x",
        "session": {"max_output_tokens": 100},
        "response": {"max_response_output_tokens": 100},
    }
    assert clamped({"session": {"max_output_tokens": 7}, "response": [1]}, 100) == {
        "session": {"max_output_tokens": 7},
        "response": [1],
    }
    assert with_maximum({"response": None}, 5) == {"response": {"max_output_tokens": 5}}
    assert maximum_of({"response": {"max_output_tokens": 5}}) == 5
    assert maximum_of({"response": {"max_output_tokens": "inf"}}) is None
    assert maximum_of({}) is None


def test_pieces_are_text_or_sound() -> None:
    assert pieces_of({"type": "response.output_text.delta", "delta": "ä"}) == (2, 0)
    assert pieces_of({"type": "response.audio.delta", "delta": "AAAA"}) == (0, 4)
    assert pieces_of({"type": "response.other.delta", "delta": "AAAA"}) == (0, 0)
    assert pieces_of({"type": "response.output_text.delta", "delta": 5}) == (0, 0)
    assert spoken_tokens(3_201) == 2


def test_usage_has_all_its_details() -> None:
    reported = {
        "input_tokens": 100,
        "output_tokens": 20,
        "input_token_details": {
            "audio_tokens": 60,
            "image_tokens": 10,
            "cached_tokens": 50,
            "cached_tokens_details": {"audio_tokens": 30, "image_tokens": 5},
        },
        "output_token_details": {"audio_tokens": 15},
    }
    assert realtime_usage(reported) == Usage(
        input_tokens=100,
        cached_input_tokens=50,
        input_audio_tokens=60,
        cached_input_audio_tokens=30,
        input_image_tokens=10,
        cached_input_image_tokens=5,
        output_tokens=20,
        output_audio_tokens=15,
    )
    assert realtime_usage({"input_tokens": 1, "output_tokens": 2}) == Usage(input_tokens=1, output_tokens=2)
    for lie in (None, {}, {"input_tokens": 1}, {"input_tokens": 1, "output_tokens": True}):
        assert realtime_usage(lie) is None


def test_nothing_is_known_of_a_request_that_is_none_of_a_socket() -> None:
    operation = RealtimeTranscription()
    assert RealtimeResponse().estimated(REQUEST) == Usage()
    assert operation.renamed(REQUEST, "other") == b"body"
    assert operation.capped(b"body", 5) == b"body"
