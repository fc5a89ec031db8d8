"""How long a sound is that is sent to be written down, told from its bytes alone. Pure; it decodes nothing.

http://soundfile.sapp.org/doc/WaveFormat/ (WAV), https://www.rfc-editor.org/rfc/rfc6716 (Opus at 6 kbit/s)
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

_LEAST_BYTES_PER_SECOND: Final = 500
"""4 kbit/s: less than any codec takes for speech. Only a file made to deceive is longer."""
_USUAL_BYTES_PER_SECOND: Final = 4_000
"""32 kbit/s: speech as it is usually recorded, or less; so that what is estimated is rather too long."""
_UNCOMPRESSED: Final = frozenset({1, 3, 6, 7})
"""Formats of samples of a fixed size: integers, floats, A-law and u-law."""
_EXTENSIBLE: Final = 0xFFFE
_FORMAT_BYTES: Final = 16
_SUBFORMAT_AT: Final = 24


class Length(NamedTuple):
    """How long a sound is, in started seconds."""

    seconds_max: int
    seconds: int
    """About; exact where `seconds_max` is the same."""


def length_of(sound: bytes | memoryview) -> Length:
    """Return how long a file is: exactly for WAV without compression, within wide bounds for everything else."""
    exact = _wav_seconds(memoryview(sound))
    if exact is not None:
        return Length(exact, exact)
    return Length(-(-len(sound) // _LEAST_BYTES_PER_SECOND), -(-len(sound) // _USUAL_BYTES_PER_SECOND))


def _wav_seconds(sound: memoryview) -> int | None:
    """Return the started seconds of a WAV file, None for any other; everything behind its header counts as sound."""
    if bytes(sound[:4]) != b"RIFF" or bytes(sound[8:12]) != b"WAVE":
        return None
    bytes_per_second = 0
    for name, start, size_bytes in _chunks(sound):
        if name == b"fmt " and size_bytes >= _FORMAT_BYTES:
            bytes_per_second = _bytes_per_second(sound[start : start + size_bytes])
        elif name == b"data":  # its size is not believed: a program that streams does not know it
            return -(-(len(sound) - start) // bytes_per_second) if bytes_per_second else None
    return None


def _chunks(sound: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, start and size of each chunk."""
    at = 12
    while at + 8 <= len(sound):
        size_bytes = _number(sound[at + 4 : at + 8])
        yield bytes(sound[at : at + 4]), at + 8, size_bytes
        at += 8 + size_bytes + size_bytes % 2


def _bytes_per_second(header: memoryview) -> int:
    """Return how many bytes a second takes, 0 where that is not fixed."""
    kind = _number(header[:2])
    if kind == _EXTENSIBLE:
        kind = _number(header[_SUBFORMAT_AT : _SUBFORMAT_AT + 2])
    if kind not in _UNCOMPRESSED:
        return 0
    channels, samples_per_second = _number(header[2:4]), _number(header[4:8])
    sample_bytes = -(-_number(header[14:16]) // 8)
    return samples_per_second * channels * sample_bytes


def _number(data: memoryview) -> int:
    return int.from_bytes(data, "little")
