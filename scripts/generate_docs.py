"""Writes the pages in docs/reference from the code that they describe: never edit those pages by hand.

`--check` writes nothing and fails when a page is out of date.
"""

import inspect
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from importlib import import_module
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from pkgutil import iter_modules
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import app
from app.errors import WeirError
from app.setting_names import setting_names
from app.settings import Settings
from app.upstreams.failure import VERDICTS, Counts, Verdict
from scripts import admin_api

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference"
_NOTICE: Final = "<!-- Written by `make docs`; edit the code instead. -->"
_TYPES: Final = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    Decimal: "number",
    str: "text",
    Path: "path",
    SecretStr: "secret",
    IPv4Network: "IPv4 network",
    IPv6Network: "IPv6 network",
}
_BOUNDS: Final = {
    Gt: "> {0.gt}",
    Ge: "≥ {0.ge}",
    Lt: "< {0.lt}",
    Le: "≤ {0.le}",
    MinLen: "length ≥ {0.min_length}",
}
_COUNTS: Final[dict[Counts, str]] = {
    "well": "an answer",
    "failed": "a failure",
    "silent": "a failure, and nobody there",
    "cool_down": "a cool-down",
    "nothing": "nothing",
    "not_asked": "nothing",
}
_STATUSES_RETRIED: Final = {408, 409, 429}

# They are imported for what they define; a name for an error elsewhere, such as core/db's, is none of the catalogue.
_MODULES: Final = {
    import_module(f"app.{each.name}").__name__ for each in iter_modules(app.__path__) if each.name.endswith("errors")
}


def configuration_page() -> str:
    """Return the page of every setting, in the order of app/settings.py."""
    names = setting_names()
    groups = {name: group for name, field in Settings.model_fields.items() if (group := group_of(field)) is not None}
    plain = {name: field for name, field in Settings.model_fields.items() if name not in groups}
    lines = [
        *_head("Configuration"),
        "Weir reads environment variables once, when it starts. A value that is out of bounds stops the start with the",
        'variable\'s name; an empty one counts as unset. Lists are written as JSON: `["a","b"]`.',
        "",
        "## Weir",
        "",
        *_settings_table(plain, names),
    ]
    for name, group in groups.items():
        lines += ["", f"## {name.capitalize()}", "", inspect.getdoc(group) or "", ""]
        lines += _settings_table(group.model_fields, names)
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Return the page of every error that a client can get, by kind and HTTP status."""
    lines = [
        *_head("Errors"),
        "Every error under `/v1` has OpenAI's shape, so its SDKs raise the exceptions that programs already handle:",
        "",
        "```json",
        '{"error": {"message": "…", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}',
        "```",
        "",
        "Branch on `code`; `message` is for people and may change. *Retried* says whether the official SDKs ask again",
        "by themselves. Errors of the upstream itself are relayed as they came.",
    ]
    for kind in _children(WeirError):
        rows = sorted(catalogue(kind), key=lambda error: (error.status, str(error.code)))
        lines += ["", f"## {kind.__name__}", "", _summary(kind), ""]
        lines += _table(("Status", "Code", "Type", "Meaning", "Retried", "Class"), map(_error_row, rows))
    return "\n".join(lines) + "\n"


def admin_api_page() -> str:
    """Return the page of every method of the SDK's administration API, and what Weir answers to it."""
    lines = [
        *_head("The administration API"),
        "Every method of `client.admin.organization` in OpenAI's Python SDK. What Weir has not answers 404 with the",
        "code `not_supported_by_weir` and a message that names what to use instead.",
        "",
    ]
    lines += _table(("Method", "Path", "SDK", "Weir"), map(_operation_row, admin_api.operations()))
    return "\n".join(lines) + "\n"


def retries_page() -> str:
    """Return the page of what is done about each way in which an attempt at an upstream can fail."""
    lines = [
        *_head("Retries"),
        "What becomes of an attempt at an upstream that failed ([how attempts are made](../resilience.md)).",
        "*Elsewhere*: another upstream that can take the call is tried. *Again*: the same upstream is tried again,",
        "if no other can be, after a pause and within its retry budget. *Breaker*: what the attempt counts as.",
        "*Billed*: whether the upstream may charge for it all the same; then it is in the ledger at an estimate.",
        "The outcome is a label of `weir_upstream_attempts_total`, which also has `answered`, and `abandoned` where",
        "the caller left.",
        "",
    ]
    lines += _table(
        ("What happened", "Outcome", "Elsewhere", "Again", "Breaker", "Billed"), map(_verdict_row, VERDICTS)
    )
    return "\n".join(lines) + "\n"


def catalogue(kind: type[WeirError] = WeirError) -> list[type[WeirError]]:
    """Return *kind* and all that derives from it in the catalogue, without those that only group others."""
    children = _children(kind)
    own = [] if kind.code is None and children else [kind]
    return [*own, *(error for child in children for error in catalogue(child))]


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the group of settings that *field* holds, None when it is a setting itself."""
    group = field.annotation
    return group if isinstance(group, type) and issubclass(group, BaseModel) else None


def constraints(field: FieldInfo) -> list[Any]:
    """Return what *field* and the types inside it are annotated with."""
    return [*field.metadata, *_constraints_inside(field.annotation)]


def stale_pages(folder: Path = REFERENCE) -> dict[Path, str]:
    """Return the pages whose file in *folder* is missing or differs, with the text that they should have."""
    pages = {
        "admin-api.md": admin_api_page(),
        "configuration.md": configuration_page(),
        "errors.md": errors_page(),
        "retries.md": retries_page(),
    }
    paths = {folder / name: text for name, text in pages.items()}
    return {path: text for path, text in paths.items() if not path.is_file() or path.read_text("utf-8") != text}


def main(arguments: list[str], folder: Path = REFERENCE) -> int:
    """Write the stale pages, or with `--check` only name them; return the exit status."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m scripts.generate_docs [--check]", file=sys.stderr)
        return 2
    stale = stale_pages(folder)
    if arguments:
        for path in stale:
            print(f"{path.name} is out of date: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.name}")
    return 0


def _head(title: str) -> list[str]:
    return [f"# {title}", "", _NOTICE, ""]


def _settings_table(fields: dict[str, FieldInfo], names: Iterator[str]) -> list[str]:
    return _table(
        ("Variable", "Type", "Default", "Bounds", "Description"),
        (
            (f"`{next(names)}`", _type(field.annotation), _default(field), _bounds(field), field.description or "")
            for field in fields.values()
        ),
    )


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    escaped = (tuple(cell.replace("|", "\\|") for cell in row) for row in rows)
    return ["| " + " | ".join(row) + " |" for row in (titles, ("---",) * len(titles), *escaped)]


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is Annotated:
        return _type(inner[0])
    if origin in {Union, UnionType}:
        return " or ".join(_type(part) for part in inner if part is not type(None))
    if origin is dict:
        return f"JSON object of {_type(inner[1])}"
    if origin in {tuple, list}:
        return f"list of {_type(inner[0])}"
    return _TYPES[annotation]


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is PydanticUndefined:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ",".join(f'"{item}"' for item in value) + "]`"
    return f"`{value}`"


def _bounds(field: FieldInfo) -> str:
    limits = ((_BOUNDS.get(type(limit)), limit) for limit in constraints(field))
    return ", ".join(pattern.format(limit) for pattern, limit in limits if pattern is not None)


def _constraints_inside(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        return [*(part for info in metadata for part in getattr(info, "metadata", [info])), *_constraints_inside(base)]
    return [found for part in get_args(annotation) for found in _constraints_inside(part)]


def _children(error: type[WeirError]) -> list[type[WeirError]]:
    return [child for child in error.__subclasses__() if child.__module__ in _MODULES]


def _operation_row(operation: admin_api.Operation) -> tuple[str, ...]:
    sdk = operation.sdk.removeprefix("client.admin.")
    return operation.method, f"`{operation.path}`", f"`{sdk}`", admin_api.support(operation)


def _verdict_row(verdict: Verdict) -> tuple[str, ...]:
    flags = verdict.elsewhere, verdict.again, verdict.may_be_billed
    elsewhere, again, billed = ("yes" if flag else "no" for flag in flags)
    return verdict.what, f"`{verdict.name}`", elsewhere, again, _COUNTS[verdict.counts], billed


def _error_row(error: type[WeirError]) -> tuple[str, ...]:
    code, kind, name = f"`{error.code}`", f"`{error.type}`", f"`{error.__name__}`"
    return str(error.status), code, kind, _summary(error), _retried(error), name


def _summary(thing: type) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _retried(error: type[WeirError]) -> str:
    """Tell what the SDKs do: `x-should-retry` decides, else the status (openai-python `_base_client.py`)."""
    wanted = _example(error).headers.get("x-should-retry")
    if wanted is not None:
        return "yes" if wanted == "true" else "no"
    return "yes" if error.status >= 500 or error.status in _STATUSES_RETRIED else "no"


def _example(error: type[WeirError]) -> WeirError:
    """Return an instance made with an empty value for each parameter that has no default."""
    needed = [p for p in inspect.signature(error).parameters.values() if p.default is inspect.Parameter.empty]
    return error(**{p.name: _empty(p.annotation) for p in needed})


def _empty(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, UnionType}:
        return _empty(get_args(annotation)[0])
    return getattr(annotation, "__supertype__", annotation)()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
