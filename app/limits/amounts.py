"""What calls use of what can be limited, and how much of it counts in one limit. Pure."""

from typing import Final, Literal, NamedTuple

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
_BYTES_PER_MEGABYTE: Final = 1_000_000


class Amounts(NamedTuple):
    """What one call uses."""

    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    audio_seconds: int = 0
    audio_bytes: int = 0
    batch_input_tokens: int = 0

    def of(self, counts: Counts) -> int:
        """Return how much of it counts in a limit of *counts*."""
        match counts:
            case "concurrent":
                return self.requests
            case "tokens":
                return self.input_tokens + self.output_tokens
            case "audio_megabytes":
                return -(-self.audio_bytes // _BYTES_PER_MEGABYTE)
        amount: int = getattr(self, counts)
        return amount


NOTHING: Final = Amounts(requests=0)


class Demand(NamedTuple):
    """What a call asks for before it is made."""

    known: Amounts
    """Its output is the maximum that it names; its input is estimated."""
    unbounded_outputs: int = 0
    """How many answers it asks for without naming a maximum."""

    def of(self, counts: Counts, maximum: int, output_tokens_default: int) -> int:
        """Return how much of *counts* it asks for, *output_tokens_default* expected of each answer without a maximum.

        What is only expected makes it no more than *maximum*.
        """
        known = self.known.of(counts)
        if self.unbounded_outputs and counts in ("tokens", "output_tokens"):
            return max(known, min(maximum, known + self.unbounded_outputs * output_tokens_default))
        return known
