"""A realtime conversation, as far as it decides what the next response can cost. Pure; in doubt more, never less."""

from typing import Final, NamedTuple

from app.gateway.body import all_objects
from app.gateway.realtime_events import (
    BETA_MAXIMUM,
    MAXIMA,
    Event,
    input_settings,
    maximum_in,
    modalities_of,
    starts_responses,
    transcription_of,
)
from app.gateway.usage import objects
from app.prices.service import Bound

_IMAGE_TOKENS_MAX: Final = 50_000
_IMAGE_TOKENS: Final = 1_000
_FRAME_TOKENS: Final = 1_024
"""What a model is told around a session that has said nothing of itself yet."""
_CHARACTERS_PER_TOKEN_MIN: Final = 100
"""Of audio in base64. The leanest format (G.711) has 1,067 of them in the 100 ms that OpenAI counts as a token."""
_CHARACTERS_PER_SECOND_MIN: Final = 10_666
_CHARACTERS_PER_TOKEN: Final = 6_400
_CHARACTERS_PER_SECOND: Final = 64_000
"""Of 24 kHz PCM."""
_BYTES_PER_TOKEN: Final = 4
_NOT_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.failed"


class Heard(NamedTuple):
    """What an event adds to the conversation, in tokens: at most, and about."""

    most: int
    about: int
    images: int = 0
    has_audio: bool = False
    is_unknown: bool = False


class Conversation:
    """What one session has in its context, and what may begin in it by itself."""

    def __init__(self, *, is_beta: bool = False) -> None:
        self.is_beta = is_beta
        """It speaks the shape of the beta."""
        self.maximum: int | None = None
        """Of the output of each response, where the session names one."""
        self.maximum_is_wish = False
        """The upstream has not agreed to it yet."""
        self.transcription_model: str | None = None
        self.appended_characters = 0
        """Of audio, in base64, since the session began."""
        self._transcribed_characters = 0
        self._committed: dict[str, int] = {}
        self._settings_tokens = _FRAME_TOKENS
        self._tokens_most = 0
        self._tokens_about = 0
        self._images = 0
        self._has_audio = False
        self._speaks = True
        self._is_unknown = False
        self._detects_turns = True
        self._goes_on_alone = False

    @property
    def may_start(self) -> bool:
        """Whether the upstream may begin a response without being asked to."""
        return self._goes_on_alone or (self._detects_turns and self.appended_characters > 0)

    @property
    def tokens_most(self) -> int:
        """How many tokens the next response can have for its input."""
        return self._settings_tokens + self._tokens_most

    @property
    def tokens_about(self) -> int:
        """About how many it will have."""
        return self._settings_tokens // _BYTES_PER_TOKEN + self._tokens_about

    @property
    def untranscribed_characters(self) -> int:
        """How much of the audio may still be written down."""
        return self.appended_characters - self._transcribed_characters

    def bound(self, output_tokens: int | None, event: Event | None = None) -> Bound:
        """Return the most that the next response can use, or the one that *event*, a `response.create`, asks for."""
        response = (event or {}).get("response")
        modalities = modalities_of(response) if isinstance(response, dict) else None
        return Bound(
            input_tokens=self.tokens_most,
            output_tokens=output_tokens,
            fills_context=self._is_unknown,
            hears=self._has_audio,
            sees=self._images > 0,
            speaks=self._speaks if modalities is None else modalities != ["text"],
        )

    def sent(self, event: Event, size: int) -> None:
        """Learn from an event of the caller, of *size* bytes, before it is sent on."""
        kind = event.get("type")
        if kind == "input_audio_buffer.append":
            self.appended_characters += size
            self._add(_sound(size))
            return
        heard = _heard(event, size)
        if isinstance(session := event.get("session"), dict):
            self._settings_tokens += size
            self._learn(session, is_wish=True)
            heard = heard._replace(most=0, about=0)
        self._add(heard)

    def told(self, event: Event, message: str | bytes) -> None:
        """Learn from an event of the upstream, which came as *message*."""
        kind = event.get("type")
        session = event.get("session")
        if isinstance(session, dict):
            self._settings_tokens = _FRAME_TOKENS + len(message.encode() if isinstance(message, str) else message)
            self._learn(session, is_wish=False)
        elif kind == "input_audio_buffer.committed":
            self._committed[str(event.get("item_id"))] = self.appended_characters
            if self.transcription_model is None:  # what comes before somebody asks is never written down
                self.transcribed(event.get("item_id"))
        elif kind == _NOT_TRANSCRIBED:
            self.transcribed(event.get("item_id"))

    def answered(self, output_tokens: int, *, has_audio: bool) -> None:
        """Learn that a response was added to the context."""
        self._tokens_most += output_tokens
        self._tokens_about += output_tokens
        self._has_audio = self._has_audio or has_audio

    def transcribed(self, item_id: object) -> int:
        """Learn that an item was, or will not be, written down; return how many started seconds it was, about."""
        until = self._committed.pop(str(item_id), self._transcribed_characters)
        characters = max(0, until - self._transcribed_characters)
        self._transcribed_characters += characters
        return -(-characters // _CHARACTERS_PER_SECOND)

    def committed_seconds(self) -> int:
        """Return about how many started seconds are being written down."""
        until = max(self._committed.values(), default=0)
        return -(-max(0, until - self._transcribed_characters) // _CHARACTERS_PER_SECOND)

    def _add(self, heard: Heard) -> None:
        self._tokens_most += heard.most
        self._tokens_about += heard.about
        self._images += heard.images
        self._has_audio = self._has_audio or heard.has_audio
        self._is_unknown = self._is_unknown or heard.is_unknown

    def _learn(self, session: Event, *, is_wish: bool) -> None:
        """Learn the settings of the session. A wish may be refused: of it counts only what makes things dearer."""
        place = input_settings(session)
        self._is_unknown = self._is_unknown or session.get("prompt") is not None
        if any(tool.get("type") == "mcp" for tool in objects(session.get("tools"))):
            self._is_unknown = self._goes_on_alone = True
        model = transcription_of(session)
        if model is not None or not is_wish:
            self.transcription_model = model
        if "turn_detection" in place:
            detects, goes_on_alone = starts_responses(place["turn_detection"])
            self._detects_turns = detects or (is_wish and self._detects_turns)
            self._goes_on_alone = self._goes_on_alone or goes_on_alone
        if (modalities := modalities_of(session)) is not None:
            self._speaks = modalities != ["text"] or (is_wish and self._speaks)
        self.is_beta = self.is_beta or BETA_MAXIMUM in session
        if session.keys() & MAXIMA:
            self.maximum, self.maximum_is_wish = maximum_in(session), is_wish


def seconds_most(characters: int) -> int:
    """Return how many started seconds audio of so many characters of base64 can be."""
    return -(-characters // _CHARACTERS_PER_SECOND_MIN)


def _sound(characters: int) -> Heard:
    most, about = -(-characters // _CHARACTERS_PER_TOKEN_MIN), -(-characters // _CHARACTERS_PER_TOKEN)
    return Heard(most, about, has_audio=True)


def _heard(event: Event, size: int) -> Heard:
    """Return what any other event adds: its text, a token for each of its bytes, and its media."""
    sounds = images = inlined = 0
    has_audio = is_unknown = False
    for part in all_objects(event):
        audio = part.get("audio")
        if isinstance(audio, str):
            has_audio = True
            sounds += len(audio)
        url = part.get("image_url")
        if url is not None:
            images += 1
            inlined += len(url) if isinstance(url, str) else 0
        is_unknown = is_unknown or part.get("prompt") is not None or part.get("type") == "mcp"
    text = max(0, size - sounds - inlined)
    sound = _sound(sounds)
    return Heard(
        most=text + sound.most + images * _IMAGE_TOKENS_MAX,
        about=-(-text // _BYTES_PER_TOKEN) + sound.about + images * _IMAGE_TOKENS,
        images=images,
        has_audio=has_audio,
        is_unknown=is_unknown,
    )
