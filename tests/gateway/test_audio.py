"""How long sounds are taken for: WAV to the second, everything else within bounds that no real file breaks."""

import struct

import pytest

from app.gateway.audio import length_of
from app.gateway.audio_usage import speech_usage, transcript_usage, whole_seconds
from app.prices.usage import Usage
from tests.gateway.sounds import wav, wav_of

PCM, ADPCM, FLOAT, A_LAW, EXTENSIBLE = 1, 2, 3, 6, 0xFFFE


@pytest.mark.parametrize(
    ("sound", "seconds"),
    [
        (wav(3), 3),
        (wav(3.001), 4),
        (wav(2, channels=2, sample_bytes=3, rate=44_100), 2),
        (wav_of(A_LAW, 8, bytes(16_000)), 2),
        (wav_of(FLOAT, 32, bytes(32_000)), 1),
        (wav_of(PCM, 12, bytes(16_000)), 1),
        (wav_of(EXTENSIBLE, 16, bytes(32_000), extra=bytes(8) + struct.pack("<H", PCM) + bytes(14)), 2),
        (wav_of(PCM, 16, bytes(16_000), before=b"LIST" + struct.pack("<I", 3) + b"abc\0"), 1),
        (wav_of(PCM, 8, b""), 0),
    ],
)
def test_a_wav_file_without_compression_is_as_long_as_it_says(sound: bytes, seconds: int) -> None:
    assert length_of(sound) == (seconds, seconds)


@pytest.mark.parametrize(
    "sound",
    [
        b"ID3" + bytes(7_997),
        b"RIFF" + bytes(7_996),
        wav_of(ADPCM, 4, bytes(7_956)),
        wav_of(EXTENSIBLE, 16, bytes(7_932), extra=bytes(8) + struct.pack("<H", ADPCM) + bytes(14)),
        wav_of(PCM, 16, bytes(7_956), rate=0),
        (b"RIFF\xff\xff\xff\xffWAVEdata\xff\xff\xff\xff").ljust(8_000, b"\0"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt \x04\0\0\0").ljust(8_000, b"\0"),
    ],
)
def test_every_other_file_is_as_long_as_its_bytes_can_be(sound: bytes) -> None:
    assert len(sound) == 8_000
    assert length_of(sound) == (16, 2)


def test_data_behind_what_a_header_announces_counts_as_sound() -> None:
    header_says_nothing = wav(0) + bytes(16_000)
    assert length_of(header_says_nothing).seconds == 1


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"type": "duration", "seconds": 3}, Usage(audio_seconds=3)),
        ({"type": "duration", "seconds": 3.2}, Usage(audio_seconds=4)),
        (
            {"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 10}, "output_tokens": 4},
            Usage(input_tokens=14, input_audio_tokens=10, output_tokens=4),
        ),
        ({"input_tokens": 14, "output_tokens": 4}, Usage(input_tokens=14, output_tokens=4)),
        ({"input_tokens": 1, "input_token_details": {}, "output_tokens": 0}, Usage(input_tokens=1)),
        (None, None),
        ({"type": "duration"}, None),
        ({"type": "duration", "seconds": -1}, None),
        ({"type": "duration", "seconds": True}, None),
        ({"type": "duration", "seconds": float("inf")}, None),
        ({"input_tokens": 14}, None),
        ({"input_tokens": -1, "output_tokens": 4}, None),
        ({"input_tokens": 14, "input_token_details": {"audio_tokens": "x"}, "output_tokens": 4}, None),
    ],
)
def test_the_usage_of_a_transcription_is_believed_if_it_can_be_true(reported: object, usage: Usage | None) -> None:
    assert transcript_usage(reported) == usage


def test_all_that_a_speech_gives_is_sound() -> None:
    told = {"input_tokens": 3, "output_tokens": 50, "total_tokens": 53}
    assert speech_usage(told) == Usage(input_tokens=3, output_tokens=50, output_audio_tokens=50)
    assert speech_usage({"input_tokens": 3}) is None
    assert speech_usage("much") is None
    assert whole_seconds("3") is None
