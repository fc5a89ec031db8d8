"""Figures over time: a picture of them for the terminal, and the straight line that fits them best."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_WIDTH: Final = 60
_HEIGHT: Final = 6
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"


def slope(at: Sequence[float], values: Sequence[float]) -> float:
    """Return by how much *values* grow for each unit of *at*, by least squares; 0 of fewer than two moments."""
    count = len(at)
    mean_at, mean_value = sum(at) / max(count, 1), sum(values) / max(count, 1)
    spread = sum((each - mean_at) ** 2 for each in at)
    if not spread:
        return 0.0
    return sum((x - mean_at) * (y - mean_value) for x, y in zip(at, values, strict=True)) / spread


def picture(values: Sequence[float]) -> str:
    """Return a chart of *values* in lines of text, between the least and the largest of them, which are named."""
    low, high = min(values), max(values)
    columns = [sum(part) / len(part) for part in _parts(values)]
    heights = [round((each - low) / ((high - low) or 1.0) * (8 * _HEIGHT - 1)) + 1 for each in columns]
    lines = []
    for row in reversed(range(_HEIGHT)):
        label = {_HEIGHT - 1: f"{high:,.1f}", 0: f"{low:,.1f}"}.get(row, "")
        bars = "".join(_EIGHTHS[min(8, max(0, height - 8 * row))] for height in heights)
        lines.append(f"{label:>12} │{bars}")
    return "\n".join(lines)


def _parts(values: Sequence[float]) -> list[Sequence[float]]:
    """Return *values* in as many parts as there are columns, or one for each if they are fewer."""
    count = min(_WIDTH, len(values))
    ends = [len(values) * number // count for number in range(count + 1)]
    return [values[begin:end] for begin, end in pairwise(ends)]
