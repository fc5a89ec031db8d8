"""The dialect of chat completion streams: `data:` lines, usage in a chunk without choices, `[DONE]` at the end.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

import re
from collections.abc import Mapping
from typing import Any

from app.gateway.stream import EventStream, StoredObject
from app.gateway.usage import chat_usage, generated_tokens, objects, sound_tokens


class ChatStream(EventStream):
    """A chat completion stream. The usage chunk is held back when *hide_usage*, as the caller did not ask for it."""

    # Without the quotes that they begin with, which are everywhere.
    NOTABLE: tuple[re.Pattern[bytes], ...] = (
        re.compile(rb'usage"\s*:\s*[{"]'),
        re.compile(rb'error"\s*:\s*[{"]'),
        re.compile(rb"\[DONE\]"),
    )
    END = re.compile(rb"^data: ?\[DONE\]", re.MULTILINE)

    def __init__(self, *, hide_usage: bool) -> None:
        super().__init__()
        self._hide_usage = hide_usage

    def learn(self, document: dict[str, Any]) -> bool:
        """Learn from an event with usage or an error."""
        self._learn_names(document)
        self.usage = chat_usage(document.get("usage")) or self.usage
        self.has_error = self.has_error or bool(document.get("error"))
        is_usage_chunk = isinstance(document.get("usage"), dict) and document.get("choices") == []
        return not (self._hide_usage and is_usage_chunk)

    def tokens_of(self, document: dict[str, Any]) -> int:
        """Return about how many tokens the choices of a chunk have from the model."""
        self._learn_names(document)
        return sum(self.tokens_of_choice(choice) for choice in objects(document.get("choices")))

    def tokens_of_choice(self, choice: dict[str, Any]) -> int:
        """Return about how many tokens one choice of a chunk has from the model."""
        delta = choice.get("delta")
        if isinstance(delta, dict) and "audio" in delta:
            sound = self.apart.output_audio_tokens + sound_tokens(delta)
            self.apart = self.apart._replace(output_audio_tokens=sound)
        return generated_tokens(delta)

    def _learn_names(self, document: dict[str, Any]) -> None:
        self.answered_model = document.get("model") or self.answered_model
        self.service_tier = document.get("service_tier") or self.service_tier


class StoredChatStream(ChatStream):
    """A stream whose completion the upstream keeps: events are looked at until one has said what it is called."""

    NOTABLE: tuple[re.Pattern[bytes], ...] = (re.compile(rb'"(?:id|usage|error)"\s*:\s*[{"]'), re.compile(rb"\[DONE\]"))

    def learn(self, document: dict[str, Any]) -> bool:
        """Learn from an event, from the first one what the completion is called."""
        if not self.stored and (stored := stored_completion(document)):
            self.store(stored)
            self.NOTABLE = ChatStream.NOTABLE  # every chunk has the id, and no other
        return super().learn(document)


class SpokenChatStream(ChatStream):
    """A stream with sound, which the upstream keeps for a while, under an id that a later request may name."""

    NOTABLE = StoredChatStream.NOTABLE

    def __init__(self, *, hide_usage: bool, stores: bool) -> None:
        super().__init__(hide_usage=hide_usage)
        self._stores = stores

    def learn(self, document: dict[str, Any]) -> bool:
        """Learn from an event, from each one what its sound is called."""
        self.store(stored_completion(document) if self._stores else ())
        self.store(spoken(document))
        return super().learn(document)


def stored_completion(document: Mapping[str, Any]) -> tuple[StoredObject, ...]:
    """Return what the upstream keeps of the completion that *document* is, or is a chunk of."""
    completion_id = document.get("id")
    return (StoredObject(completion_id, "chat.completion"),) if isinstance(completion_id, str) else ()


def spoken(document: Mapping[str, Any]) -> tuple[StoredObject, ...]:
    """Return the sounds of the completion that *document* is, or is a chunk of: the upstream keeps them for an hour."""
    choices = objects(document.get("choices"))
    said = objects([choice.get(name) for choice in choices for name in ("message", "delta")])
    sounds = objects([each.get("audio") for each in said])
    return tuple(StoredObject(sound["id"], "audio") for sound in sounds if isinstance(sound.get("id"), str))
