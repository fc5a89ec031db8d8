"""Sounds to send: WAV files of any length, and forms with them."""

import io
import struct
import wave

BOUNDARY = "a-boundary"


def wav(seconds: float, *, channels: int = 1, sample_bytes: int = 2, rate: int = 8_000) -> bytes:
    """Return a WAV file of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(sample_bytes)
        sound.setframerate(rate)
        sound.writeframes(bytes(int(seconds * rate) * channels * sample_bytes))
    return file.getvalue()


def wav_of(kind: int, bits: int, data: bytes, *, rate: int = 8_000, extra: bytes = b"", before: bytes = b"") -> bytes:
    """Return a WAV file whose header says what it likes; its data chunk is of an unknown size."""
    form = struct.pack("<HHIIHH", kind, 1, rate, 0, 0, bits) + extra
    chunks = before + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + b"\xff" * 4 + data
    return b"RIFF" + b"\xff" * 4 + b"WAVE" + chunks


def form(sound: bytes | None, **fields: str) -> bytes:
    """Return a multipart form with a sound in its field `file`."""
    parts = [
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if sound is not None:
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        parts.append(head.encode() + sound + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
