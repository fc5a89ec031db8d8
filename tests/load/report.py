"""What a run finds: shown line by line as it comes, and kept for the page."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

TARGETS: Final = {
    "litellm": ("plain calls per CPU second, beside LiteLLM with Redis and a key", "at least 40 times"),
    "portkey": ("plain calls per CPU second, beside Portkey's gateway", "at least 4 times"),
    "plain": ("plain calls per CPU second, beside the bare relay", "at least 0.7 times"),
    "stream": ("CPU of a streamed call of 100 events, beside the bare relay", "at most 1.2 times"),
    "latency": ("added at a third of capacity, p50 / p99", "under 3 ms / 15 ms"),
    "idle": ("memory of the gateway at rest, traced, before its first call", "under 120 MiB"),
    "open": ("memory of an open stream", "under 60 KiB"),
    "start": ("from start to ready, embedded servers included", "under 3 s"),
    "history": ("cost of a call with a large ledger, beside a new one", "at most 1.1 times"),
    "keys": ("cost of a call with 100,000 keys, beside 10", "at most 1.1 times"),
}
"""What Weir aims at with everything on, by the word that steps use; what is measured, and what is wanted."""

_FIRST_WIDTH: Final = 34
_WIDTH_MIN: Final = 8


@dataclass
class Table:
    """Figures under the names of their columns; the first cell of a row names it."""

    columns: tuple[str, ...]
    first_width: int = _FIRST_WIDTH
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def row(self, *cells: object) -> None:
        """Show and keep one more row."""
        self.rows.append(tuple(str(cell) for cell in cells))
        print(self._aligned(self.rows[-1]), flush=True)

    def head(self) -> str:
        """Return the names of the columns as they are shown above the rows."""
        return self._aligned(self.columns)

    def _aligned(self, cells: Iterable[str]) -> str:
        widths = [self.first_width, *(max(len(name), _WIDTH_MIN) for name in self.columns[1:])]
        return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


@dataclass
class Section:
    """What one step measured."""

    name: str
    title: str
    how: str
    """How it is measured, in sentences."""
    parts: list[Table | str] = field(default_factory=list)
    is_failed: bool = False


@dataclass
class Measured:
    """A target, and how far Weir is from it."""

    text: str
    is_met: bool


class Report:
    """All sections of a run, in the order of their steps."""

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self.measured: dict[str, Measured] = {}

    @property
    def is_complete(self) -> bool:
        """Whether no step has failed."""
        return not any(section.is_failed for section in self.sections)

    def begin(self, name: str, title: str, how: str) -> None:
        """Show what is measured next; what follows belongs to it."""
        self.sections.append(Section(name, title, how))
        print(f"\n== {title}\n\n{how}\n", flush=True)

    def table(self, *columns: str, first_width: int = _FIRST_WIDTH) -> Table:
        """Return a new table, whose head is shown."""
        table = Table(columns, first_width)
        self.sections[-1].parts.append(table)
        print(table.head(), flush=True)
        return table

    def say(self, text: str) -> None:
        """Show and keep a sentence."""
        self.sections[-1].parts.append(text)
        print(f"{text}\n", flush=True)

    def fail(self, error: Exception) -> None:
        """Say that the step could not be measured to its end."""
        self.sections[-1].is_failed = True
        self.say(f"**This step failed**: {type(error).__name__}: {error}")

    def target(self, name: str, text: str, *, is_met: bool) -> None:
        """Note what was measured for the target *name*."""
        self.measured[name] = Measured(text, is_met)
