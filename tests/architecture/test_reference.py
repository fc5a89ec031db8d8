"""Errors and settings are complete, and docs/reference says what the code says."""

import inspect
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from app import errors
from app.setting_names import setting_names
from app.settings import Settings
from scripts import generate_docs

CATALOGUE = generate_docs.catalogue()


def faults_of_error(error: type[errors.WeirError]) -> list[str]:
    """Return what *error* lacks to be one that clients and operators can understand."""
    return [
        f"app/errors.py: {error.__name__} {fault}"
        for fault, is_so in (
            ("needs a docstring that says what happened", not inspect.cleandoc(vars(error).get("__doc__") or "")),
            ("needs a `code` that clients can branch on", not error.code),
            ("needs an HTTP `status` of 400 to 599", not 400 <= error.status <= 599),
            ("is not in the tree in the module's docstring", error.__name__ not in (errors.__doc__ or "")),
        )
        if is_so
    ]


def faults_of_setting(name: str, field: FieldInfo) -> list[str]:
    """Return what *field* lacks to be one that operators can set without reading code."""
    has_bound = any(isinstance(limit, Ge | Gt | Le | Lt) for limit in generate_docs.constraints(field))
    is_number = bool({int, float} & scalars(field.annotation))
    return [
        f"app/settings.py: {name} {fault}"
        for fault, is_so in (
            ("needs a description", not field.description),
            ("needs bounds: Field(..., ge=..., le=...)", is_number and not has_bound),
        )
        if is_so
    ]


def scalars(annotation: Any) -> set[Any]:
    inner = get_args(annotation)
    return {found for part in inner for found in scalars(part)} if inner else {annotation}


def fields(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    found = []
    for name, field in model.model_fields.items():
        group = generate_docs.group_of(field)
        found += [(f"{name}.{inner}", f) for inner, f in fields(group)] if group else [(name, field)]
    return found


class Mute(errors.Refusal):
    status: ClassVar[int] = 200


class Unbounded(BaseModel):
    wait_seconds: float = 1.0
    size_bytes_max: Annotated[int, Field(description="Bounded inside its type.", ge=1)] = 1
    rate: float | None = Field(None, description="Unset by default, and without bounds.")
    mode: Literal["a", "b"] = Field("a", description="No number.")


def test_every_error_is_complete() -> None:
    assert not [fault for error in CATALOGUE for fault in faults_of_error(error)]


def test_an_error_without_a_face_is_seen() -> None:
    assert len(faults_of_error(Mute)) == 4


def test_no_two_errors_share_a_code() -> None:
    codes = [error.code for error in CATALOGUE]

    assert len(codes) == len(set(codes))


def test_every_setting_has_a_description_and_every_number_bounds() -> None:
    assert not [fault for name, field in fields(Settings) for fault in faults_of_setting(name, field)]


def test_a_setting_without_description_or_bounds_is_seen() -> None:
    faults = [fault for name, field in fields(Unbounded) for fault in faults_of_setting(name, field)]

    assert [fault.split()[1] for fault in faults] == ["wait_seconds", "wait_seconds", "rate"]


def test_the_reference_is_what_make_docs_writes() -> None:
    stale = [f"{path.name}: run `make docs`" for path in generate_docs.stale_pages()]

    assert not stale, "\n".join(stale)


def test_the_reference_names_every_error_and_every_setting() -> None:
    pages = "".join(page.read_text("utf-8") for page in generate_docs.REFERENCE.glob("*.md"))
    names = [*(f"`{error.code}`" for error in CATALOGUE), *(f"`{name}`" for name in setting_names())]

    assert not [name for name in names if name not in pages]


def test_each_setting_is_described_in_the_row_of_its_own_variable() -> None:
    rows = [line for line in generate_docs.configuration_page().splitlines() if line.startswith("| `")]

    assert len(rows) == len(fields(Settings))
    for row, (name, field) in zip(rows, fields(Settings), strict=True):
        assert name.replace(".", "__").upper() in row.split("|")[1]
        assert str(field.description).replace("|", "\\|") in row


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (errors.Unavailable, "yes"),
        (errors.UpstreamTimeout, "yes"),
        (errors.NoUpstream, "no"),
        (errors.ModelNotFound, "no"),
    ],
)
def test_the_errors_page_says_whether_sdks_ask_again(error: type[errors.WeirError], answer: str) -> None:
    (row,) = (line for line in generate_docs.errors_page().splitlines() if f"`{error.__name__}`" in line)

    assert row.split(" | ")[-2] == answer


def test_stale_pages_fail_the_check_until_they_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "reference"
    assert generate_docs.main(["--check"], folder) == 1
    assert "errors.md is out of date" in capsys.readouterr().err
    assert not folder.exists()

    assert generate_docs.main([], folder) == 0
    assert generate_docs.main(["--check"], folder) == 0

    (folder / "errors.md").write_text("edited by hand")
    assert generate_docs.main(["--check"], folder) == 1


def test_an_unknown_argument_is_refused() -> None:
    assert generate_docs.main(["--help-me"]) == 2
