"""Python sources as the rules see them: where a module stands in the house, and what it imports."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Final

from tests.architecture import law

ROOT: Final = Path(__file__).parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One imported module by its dotted name."""

    line: int
    name: str
    in_function: bool

    @property
    def place(self) -> str | None:
        """The place of one of Weir's own modules, None for a library's."""
        return self.name.removeprefix("app.").replace(".", "/") if self.name.startswith("app.") else None


@dataclass(frozen=True)
class Module:
    """One source file; `path` is relative to the repository."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def place(self) -> str:
        return self.path.removeprefix("app/").removesuffix(".py")

    def breach(self, line: int, what: str) -> str:
        """Return one line for people: where, what is wrong and what to do instead."""
        return f"{self.path}:{line}: {what}"

    def stands_in(self, *places: str) -> bool:
        return any(fnmatch(self.place, pattern) for pattern in places)

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def imports(self) -> Iterator[Import]:
        """Yield each import; `from app.keys import service` is of `app.keys.service`, `from a import b` of `a.b`."""
        inner = {id(node) for function in self.functions() for node in ast.walk(function)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = list(self._names_from(node))
            else:
                continue
            yield from (Import(node.lineno, name, id(node) in inner) for name in names)

    def _names_from(self, node: ast.ImportFrom) -> Iterator[str]:
        base = node.module or ""
        if node.level:
            package = self.path.removesuffix(".py").split("/")[: -node.level]
            base = ".".join([*package, base]).rstrip(".")
        is_module = base.startswith("app.") and not (ROOT / base.replace(".", "/")).is_dir()
        yield from (base,) if is_module else (f"{base}.{alias.name}" for alias in node.names)


Rule = Callable[[Module], Iterator[str]]
"""Looks at one module and yields a line for each breach."""


def modules(*folders: str) -> list[Module]:
    """Return every Python source below *folders* of the repository, in order of path."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def layer_of(place: str) -> str | None:
    """Return the layer that *place* stands in, None for a folder that the law does not know."""
    top = place.split("/", maxsplit=1)[0]
    for layer, names in law.LAYERS.items():
        if top in names:
            return "door" if layer in {"feature", "orchestrator"} and kind_of(place) == "door" else layer
    return None


def kind_of(place: str) -> str:
    """Return what kind of file stands at *place*, by the last word of its name."""
    last_word = place.rsplit("/", maxsplit=1)[-1].rsplit("_", maxsplit=1)[-1]
    return law.KINDS_OF_PLACES.get(place) or law.KINDS.get(last_word, "pure")
