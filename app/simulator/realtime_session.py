"""One realtime session as its server knows it: settings, conversation, sound that was not committed yet. Pure.

https://platform.openai.com/docs/api-reference/realtime
"""

import base64
from itertools import count
from typing import Any, Final

import orjson

from app.simulator.fields import Document
from app.simulator.refusal import Refusal, invalid_value
from app.simulator.text import count_tokens

_SAMPLES_BYTES_PER_TOKEN: Final = 4_800
"""24 kHz, 16 bits: a token is 100 ms."""
_IMAGE_TOKENS: Final = 85


class Session:
    """The state of one session."""

    def __init__(self, key: str, model: str, *, is_transcription: bool) -> None:
        self.key = key
        self.model = model
        self._numbers = count(1)
        self.text_tokens = 0
        self.audio_tokens = 0
        """Of the conversation so far."""
        self.buffer = bytearray()
        """Sound that was appended, and not committed."""
        self.settings: Document = {
            "object": "realtime.session",
            "id": f"sess_{key}",
            "type": "transcription" if is_transcription else "realtime",
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "You are a simulator: be helpful, and brief.",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
            "expires_at": 0,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": {"type": "server_vad", "create_response": True, "interrupt_response": True},
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin", "speed": 1.0},
            },
            "include": None,
        }

    def new_id(self, prefix: str) -> str:
        """Return an id that was not there before."""
        return f"{prefix}_{self.key}{next(self._numbers):06d}"

    def event(self, kind: str, **members: Any) -> Document:
        """Return an event of the server."""
        return {"type": kind, "event_id": self.new_id("event"), **members}

    def update(self, changes: Document) -> None:
        """Take new settings; raises Refusal (400)."""
        if "max_output_tokens" in changes:
            maximum = changes["max_output_tokens"]
            if maximum != "inf" and not (isinstance(maximum, int) and 1 <= maximum <= 4_096):
                raise invalid_value("session.max_output_tokens", "It takes a whole number from 1 to 4096, or 'inf'.")
        audio = changes.get("audio") or {}
        own = self.settings["audio"]
        self.settings |= {name: value for name, value in changes.items() if name != "audio"}
        for way in ("input", "output"):
            own[way] |= audio.get(way) or {}

    @property
    def detects_turns(self) -> bool:
        """Whether it answers by itself when somebody has spoken."""
        detection = self.settings["audio"]["input"]["turn_detection"]
        return detection is not None and detection.get("create_response", True) is not False

    @property
    def transcriber(self) -> str | None:
        """The model that writes down what is heard."""
        transcription = self.settings["audio"]["input"]["transcription"]
        return transcription["model"] if transcription else None

    def maximum(self, response: Document) -> int | None:
        """Return the most tokens that a response may have, None for as many as it likes."""
        named = response.get("max_output_tokens", self.settings["max_output_tokens"])
        return named if isinstance(named, int) else None

    def add(self, item: Document) -> Document:
        """Add an item of the client to the conversation, and return it as it is kept; raises Refusal (400)."""
        if item.get("type") not in ("message", "function_call", "function_call_output"):
            raise invalid_value("item.type", f"Invalid item type: '{item.get('type')}'.")
        for part in item.get("content") or ():
            if part.get("type") == "input_audio":
                self.audio_tokens += sound_tokens(base64.b64decode(part["audio"]))
            elif part.get("type") == "input_image":
                self.text_tokens += _IMAGE_TOKENS
            else:
                self.text_tokens += count_tokens(str(part.get("text", "")))
        self.text_tokens += count_tokens(str(item.get("output", "")) + str(item.get("arguments", "")))
        own = {"id": self.new_id("item"), "object": "realtime.item", "status": "completed"}
        return {**own, **{name: value for name, value in item.items() if value is not None}}

    def append(self, audio: object) -> bool:
        """Add sound to the buffer; return whether somebody has spoken in it and is silent now. Raises Refusal (400)."""
        try:
            sound = base64.b64decode(str(audio), validate=True)
        except ValueError:
            raise Refusal(400, "Invalid 'audio'. Expected base64.", param="audio", code="invalid_value") from None
        has_spoken = any(self.buffer)
        self.buffer += sound
        detection = self.settings["audio"]["input"]["turn_detection"]
        return detection is not None and has_spoken and not any(sound)

    def commit(self) -> Document:
        """Make an item of the buffer, and return it; raises Refusal (400) for an empty one."""
        if not self.buffer:
            message = "Error committing input audio buffer: the buffer is empty."
            raise Refusal(400, message, code="input_audio_buffer_commit_empty")
        self.audio_tokens += sound_tokens(bytes(self.buffer))
        self.buffer.clear()
        content = [{"type": "input_audio", "transcript": None}]
        own = {"id": self.new_id("item"), "object": "realtime.item", "status": "completed"}
        return {**own, "type": "message", "role": "user", "content": content}

    def input_tokens(self, response: Document) -> tuple[int, int]:
        """Return how many tokens of text, and of sound, a response has for its input."""
        told = (
            str(response.get("instructions", self.settings["instructions"]))
            + orjson.dumps(response.get("tools", self.settings["tools"])).decode()
        )
        return self.text_tokens + count_tokens(told), self.audio_tokens


def sound_tokens(sound: bytes) -> int:
    """Return how many tokens sound is."""
    return -(-len(sound) // _SAMPLES_BYTES_PER_TOKEN)
