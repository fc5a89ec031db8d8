"""What one upstream call used, counted in billable things. Carries numbers only; what they cost is `cost.py`'s."""

from typing import Final, NamedTuple


class Usage(NamedTuple):
    """Counts of one call, all whole and not negative; OpenAI's convention: a detail is part of its total.

    https://platform.openai.com/docs/api-reference/chat/object (usage). A token may be in several details on different
    axes (cached *and* audio), never in two of one axis (audio, image, text; or read from, written to the cache).
    State a duration only for a call that reports no tokens, or it is billed twice.
    """

    input_tokens: int = 0
    """Everything sent in, including every `input_*`, `cached_*` and `cache_*` part below."""
    cached_input_tokens: int = 0
    """Read from the prompt cache, including the two `cached_input_*` parts."""
    cache_write_tokens: int = 0
    """Written to the prompt cache, for any time."""
    cache_write_12h_tokens: int = 0
    """The part of `cache_write_tokens` kept for twelve hours."""
    input_audio_tokens: int = 0
    cached_input_audio_tokens: int = 0
    input_image_tokens: int = 0
    cached_input_image_tokens: int = 0
    output_tokens: int = 0
    """Everything that came out, including reasoning, audio and images."""
    reasoning_tokens: int = 0
    """For reports; billed as output."""
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    characters: int = 0
    """Characters of text to be spoken."""
    audio_seconds: int = 0
    """Duration of audio, a started second counting in full."""
    images: int = 0
    web_searches: int = 0
    web_search_previews: int = 0
    """Calls of the `web_search_preview` tools, which have a price of their own."""
    file_searches: int = 0
    code_interpreter_sessions: int = 0


NO_USAGE: Final = Usage()
