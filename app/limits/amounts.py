"""What calls use of what can be limited, and how much of it counts in one limit. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

Counts = Literal[
    "requests",
    "tokens",
    "input_tokens",
    "output_tokens",
    "concurrent",
    "images",
    "audio_seconds",
    "audio_megabytes",
    "batch_input_tokens",
]
TOKENS: Final[frozenset[Counts]] = frozenset({"tokens", "input_tokens", "output_tokens"})
"""What is only estimated before a call, and known after it."""
OUTPUTS: Final[frozenset[Counts]] = frozenset({"tokens", "output_tokens"})
"""What answers count in."""
_BYTES_PER_MEGABYTE: Final = 1_000_000


@dataclass(slots=True)
class Amounts:
    """What one call uses."""

    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    audio_seconds: int = 0
    audio_bytes: int = 0
    batch_input_tokens: int = 0

    def counted(self) -> dict[Counts, int]:
        """Return how much of it counts in limits of each kind."""
        return {
            "requests": self.requests,
            "concurrent": self.requests,
            "tokens": self.input_tokens + self.output_tokens,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "images": self.images,
            "audio_seconds": self.audio_seconds,
            "audio_megabytes": -(-self.audio_bytes // _BYTES_PER_MEGABYTE),
            "batch_input_tokens": self.batch_input_tokens,
        }


NOTHING: Final = Amounts(requests=0)


@dataclass(slots=True)
class Demand:
    """What a call asks for before it is made."""

    known: Amounts
    """Its output is the maximum that it names; its input is estimated."""
    unbounded_outputs: int = 0
    """How many answers it asks for without naming a maximum."""
