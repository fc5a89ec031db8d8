"""A flame graph as one SVG file that needs nothing else: the wider a box, the more of the time was spent in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final

Stack = tuple[str, ...]
"""Names of functions, the outermost first."""

_WIDTH: Final = 1_400
_ROW: Final = 17
_CHARACTER: Final = 6.6
_WIDTH_MIN: Final = 0.5
_STYLE: Final = "text{font:11px ui-monospace,Menlo,Consolas,monospace;pointer-events:none}g:hover rect{stroke:#000}"
_OURS: Final = ("app/", "tests/")


@dataclass
class _Box:
    """A function, called in one way, and what it has called."""

    name: str
    count: int = 0
    inner: dict[str, "_Box"] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        return 1 + max((box.depth for box in self.inner.values()), default=0)


def flame_graph(stacks: Mapping[Stack, int], title: str) -> str:
    """Return the SVG for *stacks*, each of which was seen so often."""
    root = _Box("all", sum(stacks.values()))
    for stack, count in stacks.items():
        box = root
        for name in stack:
            box = box.inner.setdefault(name, _Box(name))
            box.count += count
    height = (root.depth + 2) * _ROW
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>\n<text x="4" y="13">{escape(title)}</text>\n'
    )
    return head + "\n".join(_boxes(root, 0.0, _ROW + 4, _WIDTH / max(root.count, 1))) + "\n</svg>\n"


def _boxes(box: _Box, left: float, top: int, scale: float) -> Iterable[str]:
    """Yield *box* and, below it, those within; what would be too narrow to see is left out."""
    width = box.count * scale
    if width < _WIDTH_MIN:
        return
    told = f"{box.name}: {box.count} of {_WIDTH / scale:.0f} samples, {width / _WIDTH:.1%}"
    room = int(width / _CHARACTER) - 1
    label = f'<text x="{left + 3:.1f}" y="{top + 12}">{escape(box.name[:room])}</text>' if room > 3 else ""
    yield (
        f"<g><title>{escape(told)}</title>"
        f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_ROW - 1}" rx="2" fill="{_colour(box.name)}"/>'
        f"{label}</g>"
    )
    for inner in sorted(box.inner.values(), key=lambda each: -each.count):
        yield from _boxes(inner, left, top + _ROW, scale)
        left += inner.count * scale


def _colour(name: str) -> str:
    """Return warm colours for what is Weir's own, and cool ones for libraries."""
    hue = sum(name.encode()) % 40
    return f"hsl({hue + 10},85%,65%)" if name.startswith(_OURS) else f"hsl({hue + 185},45%,75%)"
